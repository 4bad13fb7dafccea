/* The body of a register tile, for the files that include it: sums stay in registers while k runs, one chain an element.
 *
 * The file says what a term is made of: WORD, its type in memory, and REGISTER, in a register; SPREAD(p), one of A in
 * every lane; LOAD(p), those of B; MULTIPLY_ADD(a, b, sum). The sizes are constants here, and the compiler unrolls a copy
 * for each number of rows and registers, so that no tile pays for rows that it does not have. Where a multiply-add is many
 * instructions that would be much code for nothing: there one copy has them as variables. */
#include "tile.h"

#if FMA_IS_INSTRUCTION
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

/* FULL; `depth` terms and then a triangle's; a triangle's and then `depth` terms. Where a term is a pair of them, a row's
 * triangle may begin or end between the two: in which rows that is depends on whether the first row's number is odd. */
enum shape { FULL, THEN_LOWER, UPPER_THEN, THEN_LOWER_EVEN, THEN_LOWER_ODD, UPPER_EVEN_THEN, UPPER_ODD_THEN };

/* In tiles of both registers and of so many of the largest heights, which do most of the work, eight terms are written
 * out: two threads of one core share what decodes and issues instructions, and of those that serve the loop alone an
 * eighth is left. Not in the shapes behind UPPER_THEN, triangles of pairs: four more copies for little work. */
#define UNROLLED_HEIGHTS (LANES > 4 ? 3 : 0)

INLINE void tile(const int rows, const int registers, const enum shape shape, long columns, long depth,
                 float *c, long c_row, const WORD *a, long a_row, long a_step, const WORD *b,
                 const float *start, long start_row)
{
    vf sum[TILE_ROWS][2];

    UNROLLED
    for (int i = 0; i < rows; i++)
        UNROLLED
        for (int j = 0; j < registers; j++)
            sum[i][j] = start ? vf_load_n(start + i * start_row + j * LANES, columns - j * LANES) : vf_set1(0.0f);

/* Term k of the rows first .. last - 1. */
#define TERM(first, last) do {                                                              \
        REGISTER b0 = LOAD(b), b1 = registers > 1 ? LOAD(b + LANES) : b0;                    \
        UNROLLED                                                                             \
        for (int i = first; i < last; i++) {                                                 \
            REGISTER x = SPREAD(a + i * a_row);                                              \
            sum[i][0] = MULTIPLY_ADD(x, b0, sum[i][0]);                                      \
            if (registers > 1) sum[i][1] = MULTIPLY_ADD(x, b1, sum[i][1]);                   \
        }                                                                                    \
        a += a_step;                                                                         \
        b += TILE_COLUMNS;                                                                   \
    } while (0)

/* Of the same term one row's half, which KEEP(x) leaves of a register. */
#define HALF(i, KEEP) do {                                                                   \
        REGISTER x = KEEP(SPREAD(a + (i) * a_row));                                          \
        sum[i][0] = MULTIPLY_ADD(x, KEEP(LOAD(b)), sum[i][0]);                               \
        if (registers > 1) sum[i][1] = MULTIPLY_ADD(x, KEEP(LOAD(b + LANES)), sum[i][1]);    \
    } while (0)

    if (shape == UPPER_THEN)
        UNROLLED
        for (int k = 0; k < rows; k++) TERM(0, k + 1);
#if defined(SECOND_OF_PAIR)
    if (shape == UPPER_EVEN_THEN)
        UNROLLED
        for (int k = 0; k < rows; k += 2) { if (k + 1 < rows) HALF(k + 1, SECOND_OF_PAIR); TERM(0, k + 1); }
    if (shape == UPPER_ODD_THEN)
        UNROLLED
        for (int k = 0; k < rows; k += 2) { HALF(k, SECOND_OF_PAIR); TERM(0, k); }
#endif
    if (rows > TILE_ROWS - UNROLLED_HEIGHTS && registers == 2 && shape <= UPPER_THEN)
#pragma GCC unroll 8
        for (long k = 0; k < depth; k++) TERM(0, rows);
    else
        for (long k = 0; k < depth; k++) TERM(0, rows);
    if (shape == THEN_LOWER)
        UNROLLED
        for (int k = 0; k < rows; k++) TERM(k, rows);
#if defined(FIRST_OF_PAIR)
    if (shape == THEN_LOWER_EVEN)
        UNROLLED
        for (int k = 0; k < rows; k += 2) { HALF(k, FIRST_OF_PAIR); TERM(k + 1, rows); }
    if (shape == THEN_LOWER_ODD)
        UNROLLED
        for (int k = 1; k < rows; k += 2) { HALF(k, FIRST_OF_PAIR); TERM(k + 1, rows); }
#endif
#undef TERM
#undef HALF

    UNROLLED
    for (int i = 0; i < rows; i++)
        UNROLLED
        for (int j = 0; j < registers; j++)
            vf_store_n(c + i * c_row + j * LANES, sum[i][j], columns - j * LANES);
}

#define CALL(rows, registers, shape) \
    tile(rows, registers, shape, columns, depth, c, c_row, a, a_row, a_step, b, start, start_row)
#define CASE(n, shape) case n: if (columns > LANES) CALL(n, 2, shape); else CALL(n, 1, shape); return;
#define SIX(shape) CASE(1, shape) CASE(2, shape) CASE(3, shape) CASE(4, shape) CASE(5, shape) CASE(6, shape)
#define EIGHT(shape) CASE(7, shape) CASE(8, shape) CASE(9, shape) CASE(10, shape) CASE(11, shape) CASE(12, shape) \
    CASE(13, shape) CASE(14, shape)

#if !FMA_IS_INSTRUCTION
#define SIZED(shape) CALL(rows, columns > LANES ? 2 : 1, shape);
#elif TILE_ROWS == 14
#define SIZED(shape) switch (rows) { SIX(shape) EIGHT(shape) }
#else
#define SIZED(shape) switch (rows) { SIX(shape) }
#endif

#define TILE(name, shape)                                                                             \
    void name(long rows, long columns, long depth, float *c, long c_row, const WORD *a, long a_row,    \
              long a_step, const WORD *b, const float *start, long start_row)                          \
    {                                                                                                  \
        SIZED(shape)                                                                                   \
    }
