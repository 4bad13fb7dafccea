"""The record by which a reducer folds inside the parallel region. Private until the kernel ABI is frozen."""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    typedef struct { int (*merge)(void *state, float *left, const float *right, int64_t n); void *state; } Reducer;
    """
    ctypedef struct Reducer:
        int (*merge)(void *state, float *left, const float *right, int64_t n) noexcept nogil
        void *state
