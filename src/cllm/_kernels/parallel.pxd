"""What a parallel region needs besides its loop."""

from libc.stdint cimport int64_t, uint64_t


cdef extern from "fpenv.h" nogil:
    uint64_t fpenv_enter()
    void fpenv_leave(uint64_t saved)
    double fpenv_value(double x)
    const void *fpenv_pointer(const void *p)


cdef extern from "clock.h" nogil:
    double work_begins(const double *busy)
    void work_ends(double *busy, int t, double begin, double waited)
