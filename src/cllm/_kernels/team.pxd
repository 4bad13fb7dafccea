"""Where the threads of a team meet: team.h."""

from libc.stdint cimport int64_t


cdef extern from "team.h" nogil:
    ctypedef struct Meeting:
        int64_t refused

    int region_threads()
    int meet(Meeting *meeting, int64_t n_members, int status, double *waited)
