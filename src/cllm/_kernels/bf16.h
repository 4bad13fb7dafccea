/* bfloat16 products by numerics rule 12: storage and multiplication in bfloat16, accumulation in float32.
 *
 * What is multiplied comes in pairs of terms, which a 32-bit word holds: term 2p in its low half, 2p + 1 in its high half,
 * +0 where there is none. For each pair acc = fma(a[2p+1], b[2p+1], acc), then fma(a[2p], b[2p], acc); subnormal inputs,
 * accumulators and results are signed zeros. That is what AVX512-BF16's instruction does; elsewhere two float32 FMAs do
 * it, while the control word says so.
 *
 * On x86-64-v4 the functions exist twice, with that instruction and without. */
#ifndef CLLM_BF16_H
#define CLLM_BF16_H

#include "tile.h"

typedef uint32_t pair;

typedef void PairTile(long rows, long columns, long n_pairs, float *c, long c_row, const pair *a, long a_row, long a_step,
                      const pair *b, const float *start, long start_row);

typedef struct {
    /* As tile_product of tile.h with pairs for terms: A's pair (i, p) at a[i * a_row + p * a_step], B
     * (n_pairs, TILE_COLUMNS). */
    PairTile *tile;

    /* Rows become pairs along them: out (rows, ceil(depth / 2)) OUT of a (rows, depth) IN, row stride a_row.
     * Up to 15 pairs behind the last are written over. */
    void (*along)(pair *out, const float *a, long rows, long depth, long a_row);

    /* Neighbouring rows become pairs: out (ceil(rows / 2), columns) OUT, row stride out_row, of a (rows, columns) IN,
     * row stride a_row. Up to 15 pairs behind a row are written over. */
    void (*across)(pair *out, long out_row, const float *a, long rows, long columns, long a_row);

    /* One panel (ceil(depth / 2), TILE_COLUMNS) OUT, zero padded, of B (depth, columns) IN, of which one stride is 1. */
    void (*pack)(pair *panel, const float *b, long depth, long columns, long depth_step, long column_step);
} Bf16;

/* What attention needs besides; by itself, so that no other kernel carries it. */
typedef struct {
    /* As tile_then_lower, for row numbers from an even or, [1], an odd one on: n_pairs of terms that all rows take, and
     * then those of the triangle, row i up to its own number. */
    PairTile *then_lower[2];

    /* As tile_upper_then: row i from its own number on. The triangle has ceil(rows / 2) pairs, the first of them with the
     * first row's number in it, and n_pairs follow. */
    PairTile *upper_then[2];
} Bf16Triangles;

extern const Bf16 bf16_emulated;
extern const Bf16Triangles bf16_emulated_triangles;
#if defined(CLLM_BF16_NATIVE)
extern const Bf16 bf16_native;
extern const Bf16Triangles bf16_native_triangles;
#else
#define bf16_native bf16_emulated
#define bf16_native_triangles bf16_emulated_triangles
#endif

#endif
