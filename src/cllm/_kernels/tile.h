/* The register tile of every matrix product in cllm. */
#ifndef CLLM_TILE_H
#define CLLM_TILE_H

#include "simd.h"

/* Rows and columns of one tile. AVX-512 has 32 registers: 14 x 2 sums, 2 of B, 1 broadcast. AVX2 and NEON builds
 * hold 6 x 2 sums in 16 registers. The sizes change the speed and no bit: each element is one chain over k. */
#if LANES == 16
#define TILE_ROWS 14
#else
#define TILE_ROWS 6
#endif
#define TILE_COLUMNS (2 * LANES)
#define CACHE_LINE 16 /* float32 */

/* C[i, j] = start + sum over ascending k of A[i, k] * B[k, j], one chain of fused multiply-adds an element.
 *
 *   c        OUT  (rows, columns), row stride c_row; rows <= TILE_ROWS, columns <= TILE_COLUMNS
 *   a        IN   element (i, k) at a[i * a_row + k * a_step]
 *   b        IN   (depth, TILE_COLUMNS) packed, zero padded
 *   start    IN   where the chains start: element (i, j) at start[i * start_row + j]; NULL means +0.
 *                 c itself continues a product, a bias has start_row 0. */
void tile_product(long rows, long columns, long depth,
                  float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                  const float *start, long start_row);

/* As tile_product over `depth` terms, and then `rows` more of which row i takes only the first i + 1: the triangle at
 * the causal diagonal, where a masked term must not enter a chain. */
void tile_then_lower(long rows, long columns, long depth,
                     float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                     const float *start, long start_row);

/* The other way round: `rows` terms of which row i takes only those from i on, the triangle at which a key's column of
 * the causal mask begins, and then `depth` more. */
void tile_upper_then(long rows, long columns, long depth,
                     float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                     const float *start, long start_row);

/* One row of C, in which a tile's two registers would wait for each other: `columns` of up to ROW_PANELS panels go on at
 * the same time. B's term k has its first panel at b + k * b_step, the next ones b_panel further each. Where b_step is
 * TILE_COLUMNS, B is packed; where it is not, what lies behind the columns is not read. */
#define ROW_PANELS 4
#define ROW_COLUMNS (ROW_PANELS * TILE_COLUMNS)
void tile_row(long columns, long depth, float *c, const float *a, const float *b, long b_step, long b_panel,
              const float *start);

/* One panel (depth, TILE_COLUMNS) OUT, zero padded, from B (depth, columns) IN with any strides; columns <= TILE_COLUMNS. */
void tile_pack(float *panel, const float *b, long depth, long columns, long depth_step, long column_step);

/* The other operand, A transposed: for each tile of a block its rows side by side, tile by tile, so that it is read in
 * order. Tile t has rows height * t / n_tiles and on; it begins at out + depth * its first row, and its a_row is 1, its
 * a_step the number of its rows. out (depth * height) OUT, x (depth, height) IN. */
void tile_pack_turned(float *out, const float *x, long depth, long height, long x_row);

/* C (rows, columns), row stride c_row, OUT = a + b, whose rows are TILE_COLUMNS apart. */
INLINE void tile_sum(long rows, long columns, float *c, long c_row, const float *a, const float *b)
{
    for (long i = 0; i < rows; i++, c += c_row, a += TILE_COLUMNS, b += TILE_COLUMNS)
        for (long j = 0; j < columns; j += LANES) vf_store_n(c + j, vf_load(a + j) + vf_load(b + j), columns - j);
}

/* Asks for `rows` rows of a panel's or a tile's columns, which are soon to be read or written, before they are. */
INLINE void tile_expect(const float *p, long rows, long p_row)
{
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < TILE_COLUMNS; j += CACHE_LINE) __builtin_prefetch(p + i * p_row + j, 0, 2);
}

#endif
