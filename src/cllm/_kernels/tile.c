/* The register tile of every matrix product: sums stay in registers while k runs, one chain an element.
 *
 * The body is written once with the sizes as constants; the compiler unrolls a copy for each number of rows and
 * registers, so that no tile pays for rows that it does not have. */
#include "tile.h"

enum shape { FULL, LOWER, UPPER };

INLINE void tile(const int rows, const int registers, const enum shape shape, long columns, long depth,
                 float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                 const float *start, long start_row)
{
    vf sum[TILE_ROWS][2];

#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < registers; j++)
            sum[i][j] = start ? vf_load_n(start + i * start_row + j * LANES, columns - j * LANES) : vf_set1(0.0f);

    for (long k = 0; k < depth; k++) {
        vf b0 = vf_load(b), b1 = registers > 1 ? vf_load(b + LANES) : vf_set1(0.0f);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            if (shape == LOWER && k > i) continue;
            if (shape == UPPER && k < i) continue;
            vf x = vf_set1(a[i * a_row]);
            sum[i][0] = vf_fma(x, b0, sum[i][0]);
            if (registers > 1) sum[i][1] = vf_fma(x, b1, sum[i][1]);
        }
        a += a_step;
        b += TILE_COLUMNS;
    }

#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < registers; j++)
            vf_store_n(c + i * c_row + j * LANES, sum[i][j], columns - j * LANES);
}

#define CALL(rows, registers, shape) \
    tile(rows, registers, shape, columns, depth, c, c_row, a, a_row, a_step, b, start, start_row)
#define CASE(n, shape) case n: if (columns > LANES) CALL(n, 2, shape); else CALL(n, 1, shape); return;

#if TILE_ROWS == 14
#define CASES(shape) CASE(1, shape) CASE(2, shape) CASE(3, shape) CASE(4, shape) CASE(5, shape) CASE(6, shape) \
    CASE(7, shape) CASE(8, shape) CASE(9, shape) CASE(10, shape) CASE(11, shape) CASE(12, shape) \
    CASE(13, shape) CASE(14, shape)
#else
#define CASES(shape) CASE(1, shape) CASE(2, shape) CASE(3, shape) CASE(4, shape) CASE(5, shape) CASE(6, shape)
#endif

void tile_product(long rows, long columns, long depth,
                  float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                  const float *start, long start_row)
{
    switch (rows) { CASES(FULL) }
}

void tile_triangle_lower(long rows, long columns, long depth,
                         float *c, long c_row, const float *a, long a_row, long a_step, const float *b)
{
    const float *start = c;
    long start_row = c_row;
    switch (rows) { CASES(LOWER) }
}

void tile_triangle_upper(long rows, long columns, long depth,
                         float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                         const float *start, long start_row)
{
    switch (rows) { CASES(UPPER) }
}
