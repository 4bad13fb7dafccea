"""Faults on request: see injection.h."""

from libc.stdint cimport int64_t

from cllm._kernels.op cimport Op, Shard


cdef extern from "injection.h" nogil:
    const int CHECKED

    ctypedef struct Injection:
        int64_t op, backward, batch, sequence, is_gradient, slot, element
        double value

    bint is_due(const Injection *injection, const Op *op, const Shard *shard, bint backward)
    void inject(const Injection *injection, const Op *op, const Shard *shard)
