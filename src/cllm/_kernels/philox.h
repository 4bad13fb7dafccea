/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): counter in, 128 bits out.
 *
 * Nothing is kept between calls: a random number is a function of what it is for (numerics rule 8). */
#ifndef CLLM_PHILOX_H
#define CLLM_PHILOX_H

#include <stdint.h>

#define PHILOX_BLOCKS 16

/* Sixteen blocks whose number runs on from `first`: out[4 * block + word]. Loops of sixteen, so that the compiler makes
 * vectors of them.
 *
 * A number's low 32 bits are the first counter word. Attention's dropout on 2^34 probabilities of one sequence has more
 * blocks than that counts: the bits above are in the upper half of c1, where an op's id (below 65,536) has none. */
static inline void philox_blocks(uint32_t out[4 * PHILOX_BLOCKS], uint64_t first, uint32_t c1, uint32_t c2,
                                 uint32_t c3, uint32_t key0, uint32_t key1)
{
    uint32_t x0[PHILOX_BLOCKS], x1[PHILOX_BLOCKS], x2[PHILOX_BLOCKS], x3[PHILOX_BLOCKS];
    for (int i = 0; i < PHILOX_BLOCKS; i++) {
        uint64_t block = first + (uint64_t)i;
        x0[i] = (uint32_t)block;
        x1[i] = c1 ^ (uint32_t)(block >> 32) << 16;
        x2[i] = c2;
        x3[i] = c3;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < PHILOX_BLOCKS; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * x0[i], p1 = (uint64_t)0xCD9E8D57u * x2[i];
            uint32_t y0 = (uint32_t)(p1 >> 32) ^ x1[i] ^ key0, y2 = (uint32_t)(p0 >> 32) ^ x3[i] ^ key1;
            x1[i] = (uint32_t)p1;
            x3[i] = (uint32_t)p0;
            x0[i] = y0;
            x2[i] = y2;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    for (int i = 0; i < PHILOX_BLOCKS; i++) {
        out[4 * i] = x0[i];
        out[4 * i + 1] = x1[i];
        out[4 * i + 2] = x2[i];
        out[4 * i + 3] = x3[i];
    }
}

/* Streams keep the uses of one seed apart; cllm/philox.py has the same numbers. */
enum { STREAM_INIT = 1, STREAM_DROPOUT = 2 };

#endif
