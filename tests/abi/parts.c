/* Parts of a package that knows of cllm no more than its header. */
#include "cllm/kernel_abi.h"

#include <math.h>
#include <string.h>

/* --- reducers ----------------------------------------------------------------------------------------------- */

int32_t merge_sum(void *state, int64_t lo, int64_t hi, float *left, const float *right)
{
    (void)state;
    for (int64_t i = 0; i < hi - lo; i++) left[i] += right[i];
    return CLLM_OK;
}

/* The sum, where `finish` scales every element by its place: wrong places are wrong bits. */
int32_t finish_by_place(void *state, int64_t lo, int64_t hi, float *total, int64_t n_shards)
{
    (void)state;
    for (int64_t i = lo; i < hi; i++) total[i - lo] *= (float)(1 + i % 7) / (float)n_shards;
    return CLLM_OK;
}

/* The larger of the two, and of equal places the left; a place that is a multiple of *state is the sum. */
int32_t merge_by_place(void *state, int64_t lo, int64_t hi, float *left, const float *right)
{
    int64_t every = *(const int64_t *)state;
    for (int64_t i = lo; i < hi; i++) {
        float l = left[i - lo], r = right[i - lo];
        left[i - lo] = i % every == 0 || l != l || r != r ? l + r : l < r ? r : l;
    }
    return CLLM_OK;
}

/* Gives up where it meets element *state. */
int32_t merge_refuses(void *state, int64_t lo, int64_t hi, float *left, const float *right)
{
    int64_t place = *(const int64_t *)state;
    if (lo <= place && place < hi) return 42;
    return merge_sum(state, lo, hi, left, right);
}

int32_t combine_sum(void *state, int64_t lo, int64_t hi, float *out, const float *const *gradients,
                    const double *weights, int64_t n_shards, float *scratch)
{
    (void)state, (void)weights, (void)scratch;
    for (int64_t i = 0; i < hi - lo; i++) {
        float total = gradients[0][i];
        for (int64_t s = 1; s < n_shards; s++) total += gradients[s][i];
        out[i] = total;
    }
    return CLLM_OK;
}

/* By way of scratch: who has too little, or another thread's, makes other bits. */
int64_t scratch_of_a_block(void *state, int64_t n_shards) { (void)state; return 256 * n_shards; }

int32_t combine_in_scratch(void *state, int64_t lo, int64_t hi, float *out, const float *const *gradients,
                           const double *weights, int64_t n_shards, float *scratch)
{
    (void)state, (void)weights;
    for (int64_t begin = 0; begin < hi - lo; begin += 256) {
        int64_t n = hi - lo - begin < 256 ? hi - lo - begin : 256;
        for (int64_t s = 0; s < n_shards; s++) memcpy(scratch + s * 256, gradients[s] + begin, (size_t)n * sizeof(float));
        for (int64_t i = 0; i < n; i++) {
            float total = scratch[i];
            for (int64_t s = 1; s < n_shards; s++) total += scratch[s * 256 + i];
            out[begin + i] = total;
        }
    }
    return CLLM_OK;
}

/* --- checks: the sum of all elements, one float64 chain a piece, and one over the pieces --------------------- */

int32_t scan_sum(void *state, int64_t lo, int64_t hi, const float *gradient, double *partial)
{
    (void)state;
    partial[0] = 0.0, partial[1] = (double)(hi - lo);
    for (int64_t i = 0; i < hi - lo; i++) partial[0] += gradient[i];
    return CLLM_OK;
}

int32_t finish_sum(void *state, int64_t n_chunks, const double *partials, double *found)
{
    (void)state;
    found[0] = found[1] = 0.0, found[2] = (double)n_chunks;
    for (int64_t i = 0; i < n_chunks; i++) found[0] += partials[2 * i], found[1] += partials[2 * i + 1];
    return CLLM_OK;
}

int32_t scan_refuses(void *state, int64_t lo, int64_t hi, const float *gradient, double *partial)
{
    return hi - lo < CLLM_CHUNK ? 9 : scan_sum(state, lo, hi, gradient, partial);
}

/* --- an op: y = x^2 g, with g a parameter of each channel ------------------------------------------------------ */

enum { Y, X, G };

int32_t square_forward(void *state, const cllm_op_call *call)
{
    int64_t c = call->size[0], rows = call->n_sequences * call->time - call->first;
    const float *x = call->value[X], *g = call->value[G];
    float *y = call->value[Y];
    (void)state;
    for (int64_t row = call->first + cllm_part_begin(rows, 1, call->part, call->n_parts);
         row < call->first + cllm_part_begin(rows, 1, call->part + 1, call->n_parts); row++)
        for (int64_t j = 0; j < c; j++) y[row * c + j] = x[row * c + j] * x[row * c + j] * g[j];
    return CLLM_OK;
}

/* dx by rows and dg by columns, in two phases: a part of the second begins when all of the first are done. */
int32_t square_backward(void *state, const cllm_op_call *call)
{
    int64_t c = call->size[0], rows = call->n_sequences * call->time;
    const float *x = call->value[X], *g = call->value[G], *dy = call->gradient[Y];
    float *dx = call->gradient[X], *dg = call->gradient[G];
    (void)state;
    if (call->phase == 0) {
        for (int64_t row = cllm_part_begin(rows, 1, call->part, call->n_parts);
             dx && row < cllm_part_begin(rows, 1, call->part + 1, call->n_parts); row++)
            for (int64_t i = row * c; i < (row + 1) * c; i++) {
                float d = 2.0f * x[i] * g[i - row * c] * dy[i];
                dx[i] = cllm_adds(call, X) ? dx[i] + d : d;
            }
        return CLLM_AGAIN;
    }
    for (int64_t j = cllm_part_begin(c, 1, call->part, call->n_parts);
         dg && j < cllm_part_begin(c, 1, call->part + 1, call->n_parts); j++) {
        float total = cllm_adds(call, G) ? dg[j] : 0.0f;
        for (int64_t row = 0; row < rows; row++) total += x[row * c + j] * x[row * c + j] * dy[row * c + j];
        dg[j] = total;
    }
    return CLLM_OK;
}

int32_t square_refuses(void *state, const cllm_op_call *call)
{
    (void)state;
    return call->part == call->n_parts - 1 ? 7 : CLLM_OK;
}

const char *what(void *state, int32_t status)
{
    (void)state;
    return status == 42 ? "this element is mine" : status == 7 ? "no squares today" : 0;
}
