/* The float32 tiles, and how their panels are packed. */
#define WORD float
#define REGISTER vf
#define SPREAD(p) vf_set1(*(p))
#define LOAD(p) vf_load(p)
#define MULTIPLY_ADD(a, b, sum) vf_fma(a, b, sum)
#include "tile_body.h"

TILE(tile_product, FULL)
TILE(tile_then_lower, THEN_LOWER)
TILE(tile_upper_then, UPPER_THEN)

/* `full`: whole registers may be read. */
INLINE void row(const int n_panels, const int full, long columns, long depth, float *c, const float *a, const float *b,
                long b_step, long b_panel, const float *start)
{
    vf sum[ROW_PANELS][2];

#pragma GCC unroll 4
    for (int p = 0; p < n_panels; p++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const long at = p * TILE_COLUMNS + j * LANES;
            sum[p][j] = start ? vf_load_n(start + at, columns - at) : vf_set1(0.0f);
        }
    for (long k = 0; k < depth; k++, b += b_step) {
        const vf x = vf_set1(a[k]);
#pragma GCC unroll 4
        for (int p = 0; p < n_panels; p++)
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++) {
                const float *at = b + p * b_panel + j * LANES;
                sum[p][j] = vf_fma(x, full ? vf_load(at) : vf_load_n(at, columns - p * TILE_COLUMNS - j * LANES), sum[p][j]);
            }
    }
#pragma GCC unroll 4
    for (int p = 0; p < n_panels; p++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const long at = p * TILE_COLUMNS + j * LANES;
            vf_store_n(c + at, sum[p][j], columns - at);
        }
}

void tile_row(long columns, long depth, float *c, const float *a, const float *b, long b_step, long b_panel,
              const float *start)
{
    const int full = b_step == TILE_COLUMNS || columns % TILE_COLUMNS == 0;
#define ROW(n) case n: \
        if (full) row(n, 1, columns, depth, c, a, b, b_step, b_panel, start); \
        else row(n, 0, columns, depth, c, a, b, b_step, b_panel, start); \
        return;
    switch ((columns + TILE_COLUMNS - 1) / TILE_COLUMNS) { ROW(1) ROW(2) ROW(3) ROW(4) }
#undef ROW
}

/* Columns come as rows of memory: blocks of LANES x LANES are turned in registers. */
static void pack_turned(float *panel, const float *b, long depth, long columns, long column_step)
{
    long k = 0, j;
    for (; k + LANES <= depth; k += LANES) {
        for (j = 0; j + LANES <= columns; j += LANES) {
            vf block[LANES];
            for (int i = 0; i < LANES; i++) block[i] = vf_load(b + (j + i) * column_step + k);
            vf_transpose(block);
            for (int i = 0; i < LANES; i++) vf_store(panel + (k + i) * TILE_COLUMNS + j, block[i]);
        }
        for (; j < columns; j++)
            for (int i = 0; i < LANES; i++) panel[(k + i) * TILE_COLUMNS + j] = b[j * column_step + k + i];
    }
    for (; k < depth; k++)
        for (j = 0; j < columns; j++) panel[k * TILE_COLUMNS + j] = b[j * column_step + k];
}

void tile_pack(float *panel, const float *b, long depth, long columns, long depth_step, long column_step)
{
    if (columns < TILE_COLUMNS) memset(panel, 0, sizeof *panel * depth * TILE_COLUMNS);
    if (depth_step == 1 && column_step != 1) {
        pack_turned(panel, b, depth, columns, column_step);
    } else if (columns == TILE_COLUMNS && column_step == 1) {
        for (long k = 0; k < depth; k++, panel += TILE_COLUMNS, b += depth_step) {
            vf b0 = vf_load(b), b1 = vf_load(b + LANES);
            vf_store(panel, b0);
            vf_store(panel + LANES, b1);
        }
    } else {
        for (long k = 0; k < depth; k++)
            for (long j = 0; j < columns; j++) panel[k * TILE_COLUMNS + j] = b[k * depth_step + j * column_step];
    }
}

/* Some rows of x at a time go to all tiles, so that each line of it is taken from memory once. Where a row is as long as
 * a page, their lines share a set of the first-level cache, which has room for eight at least. */
#define TURNED_TOGETHER 8

void tile_pack_turned(float *out, const float *x, long depth, long height, long x_row)
{
    const long n_tiles = (height + TILE_ROWS - 1) / TILE_ROWS;
    for (long k = 0; k < depth; k += TURNED_TOGETHER) {
        const long end = k + TURNED_TOGETHER < depth ? k + TURNED_TOGETHER : depth;
        for (long t = 0, first = 0, rows; t < n_tiles; t++, first += rows) {
            rows = height * (t + 1) / n_tiles - first;
            const float *from = x + k * x_row + first;
            float *tile = out + depth * first + k * rows;
            long i = k;
            /* Whole registers, while there are rows behind: the next one overwrites what was too much. */
            for (; i < end && i < depth - LANES; i++, from += x_row, tile += rows)
                for (long j = 0; j < rows; j += LANES) vf_store(tile + j, vf_load(from + j));
            for (; i < end; i++, from += x_row, tile += rows)
                for (long j = 0; j < rows; j += LANES) vf_store_n(tile + j, vf_load_n(from + j, rows - j), rows - j);
        }
    }
}
