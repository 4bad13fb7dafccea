"""Compiled parts of other packages: their structs of the kernel ABI, copied from capsules, and how they are called.

A fold is called by the executors; here are the calls that are made beside a step, and the kernel by which an op of
somebody else's stands among cllm's own.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from cllm._kernels.abi cimport (
    CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_AGAIN, CLLM_CHECK_IF_NONFINITE, CLLM_CHUNK, CLLM_OK, CLLM_STOPPED, cllm_check,
    cllm_op, cllm_op_call, cllm_reducer,
)
from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport (
    AGAIN, DONE, MAX_SLOTS, REFUSED, STOPPED, Op, Shard, gradient_of, part_begin, value_of,
)
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, work_begins, work_ends

cdef extern from "signals.h" nogil:
    void note(int64_t *word, int64_t value)

cdef extern from "Python.h":
    int PyCapsule_CheckExact(object o)

cdef enum:
    SLICE = 65536  # parameters of all shards that a thread combines at a time: they stay in its cache

# Of each struct: its name in capsules, and its size in version 1.0, which is the least that is taken.
SIZES = {"reducer": sizeof(cllm_reducer), "check": sizeof(cllm_check), "op": sizeof(cllm_op)}
MAJOR, MINOR, CHUNK = CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_CHUNK
IF_NONFINITE = CLLM_CHECK_IF_NONFINITE

ctypedef const char *(*Describe)(void *state, int32_t status) noexcept nogil


cdef struct Head:
    # What all structs begin with.
    uint32_t struct_size
    unsigned short abi_major
    unsigned short abi_minor
    uint64_t flags
    void *state
    Describe describe


def name_of(capsule):
    """The name of a capsule, None if it is no capsule or has none."""
    cdef const char *name
    if not PyCapsule_CheckExact(capsule):
        return None
    name = PyCapsule_GetName(capsule)
    return None if name == NULL else (<bytes>name).decode("utf-8", "replace")


def head_of(capsule):
    """struct_size, abi_major, abi_minor and flags of what is in a capsule with one of our names."""
    cdef const Head *head = <const Head *>PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))
    return head.struct_size, head.abi_major, head.abi_minor, head.flags


cdef class Part:
    """What the structs have in common: their head, and what keeps them alive."""

    cdef Head *head
    cdef object kept

    cdef void take(self, void *record, size_t size, object capsule, const char *name, object exporter) except *:
        """Copy the struct in the capsule, as far as there is one and as far as is known here, to `record`."""
        cdef const Head *given = <const Head *>PyCapsule_GetPointer(capsule, name)
        memcpy(record, given, min(<size_t>given.struct_size, size))
        self.head, self.kept = <Head *>record, (capsule, exporter)

    @property
    def address(self):
        return <uintptr_t>self.head

    def describe(self, int32_t status):
        """What it says of one of its own statuses, "" if nothing."""
        cdef const char *text = NULL
        if self.head.describe != NULL:
            text = self.head.describe(self.head.state, status)
        return "" if text == NULL else (<bytes>text).decode("utf-8", "replace")


cdef class Reducer(Part):
    """A reducer's struct. Arrays are given by address."""

    cdef cllm_reducer record

    def __init__(self, capsule, exporter):
        self.take(&self.record, sizeof(cllm_reducer), capsule, b"cllm.reducer", exporter)

    @property
    def kinds(self):
        """Which of the two it is; of a right one, one."""
        return ("fold",) * (self.record.merge != NULL) + ("gather",) * (self.record.combine != NULL)

    def merge(self, uintptr_t left, uintptr_t right, int64_t lo, int64_t n):
        """left (n,) is merged with right (n,), float32, elements lo .. lo + n - 1 of the parameters. Returns a status."""
        cdef uint64_t saved
        cdef int32_t status = CLLM_OK
        with nogil:
            saved = fpenv_enter()
            if n > 0:
                status = self.record.merge(self.record.state, lo, lo + n, <float *>left, <const float *>right)
            fpenv_leave(saved)
        return status

    def finish(self, uintptr_t total, int64_t lo, int64_t n, int64_t n_shards):
        """total (n,) float32 becomes the sum over the shards. Returns a status."""
        cdef uint64_t saved
        cdef int32_t status = CLLM_OK
        with nogil:
            saved = fpenv_enter()
            if n > 0 and self.record.finish != NULL:
                status = self.record.finish(self.record.state, lo, lo + n, <float *>total, n_shards)
            fpenv_leave(saved)
        return status

    def scratch(self, int64_t n_shards):
        """float32 elements of scratch in each thread."""
        return 0 if self.record.scratch == NULL else self.record.scratch(self.record.state, n_shards)

    def combine(
        self, uintptr_t out, uintptr_t gradients, uintptr_t weights, int64_t n_shards, int64_t lo, int64_t n,
        uintptr_t scratch, int64_t scratch_step, int n_threads, uintptr_t busy,
    ):
        """out (n,) float32 OUT, from the n_shards addresses of gradients (n,) IN and weights (S,) float64 IN.

        scratch: (n_threads, scratch_step) float32. Returns a status.
        """
        cdef int64_t refused = CLLM_OK
        cdef int t
        for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
            combine_part(
                &self.record, <float *>out, <const int64_t *>gradients, <const double *>weights, n_shards, lo, n,
                <float *>scratch + t * scratch_step, t, n_threads, <double *>busy, &refused,
            )
        return refused


cdef enum:
    MOST_AT_ONCE = 4096  # addresses of gradients that fit on a thread's stack; cllm/abi.py refuses more shards

MOST_SHARDS = MOST_AT_ONCE


cdef void combine_part(
    const cllm_reducer *record, float *out, const int64_t *gradients, const double *weights, int64_t n_shards, int64_t lo,
    int64_t n, float *scratch, int part, int n_parts, double *busy, int64_t *refused,
) noexcept nogil:
    cdef const float *rows[MOST_AT_ONCE]
    cdef int64_t begin = part_begin(n, 16, part, n_parts), end = part_begin(n, 16, part + 1, n_parts), last, s
    cdef uint64_t saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef int32_t status
    while begin < end:
        last = min(begin + SLICE, end)
        for s in range(n_shards):
            rows[s] = <const float *>gradients[s] + begin
        status = record.combine(record.state, lo + begin, lo + last, out + begin, rows, weights, n_shards, scratch)
        if status != CLLM_OK:
            note(refused, status)
            break
        begin = last
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)


cdef class Check(Part):
    """A check's struct."""

    cdef cllm_check record

    def __init__(self, capsule, exporter):
        self.take(&self.record, sizeof(cllm_check), capsule, b"cllm.check", exporter)

    @property
    def is_whole(self):
        """Whether it has both functions and sizes that can be."""
        has_both = self.record.scan != NULL and self.record.finish != NULL
        return has_both and 0 <= self.record.n_partial <= CLLM_CHUNK and 0 <= self.record.n_found <= CLLM_CHUNK

    @property
    def sizes(self):
        """n_partial, n_found."""
        return self.record.n_partial, self.record.n_found

    def scan(self, uintptr_t gradient, int64_t n, uintptr_t partials, uintptr_t found, int n_threads, uintptr_t busy):
        """found (n_found,) float64 OUT, of gradient (n,) float32; partials (chunks, n_partial). Returns a status."""
        cdef int64_t n_chunks = (n + CLLM_CHUNK - 1) // CLLM_CHUNK, refused = CLLM_OK
        cdef uint64_t saved
        cdef int t
        for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
            scan_part(&self.record, <const float *>gradient, n, <double *>partials, t, n_threads, <double *>busy, &refused)
        if refused == CLLM_OK:
            with nogil:
                saved = fpenv_enter()
                refused = self.record.finish(self.record.state, n_chunks, <const double *>partials, <double *>found)
                fpenv_leave(saved)
        return refused


cdef void scan_part(
    const cllm_check *record, const float *gradient, int64_t n, double *partials, int part, int n_parts, double *busy,
    int64_t *refused,
) noexcept nogil:
    cdef int64_t n_chunks = (n + CLLM_CHUNK - 1) // CLLM_CHUNK, chunk, lo, hi
    cdef uint64_t saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef int32_t status
    for chunk in range(part_begin(n_chunks, 1, part, n_parts), part_begin(n_chunks, 1, part + 1, n_parts)):
        lo = chunk * CLLM_CHUNK
        hi = min(lo + CLLM_CHUNK, n)
        status = record.scan(record.state, lo, hi, gradient + lo, partials + chunk * record.n_partial)
        if status != CLLM_OK:
            note(refused, status)
            break
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)


cdef class OpRecord(Part):
    """An op's struct. The engine's records of the op hold its address."""

    cdef cllm_op record

    def __init__(self, capsule, exporter):
        self.take(&self.record, sizeof(cllm_op), capsule, b"cllm.op", exporter)

    @property
    def directions(self):
        """Of "forward" and "backward", what it has."""
        return ("forward",) * (self.record.forward != NULL) + ("backward",) * (self.record.backward != NULL)


# --- an op of somebody else's, as a kernel ----------------------------------------------------------------------


cdef int is_interrupted(const cllm_op_call *call) noexcept nogil:
    cdef const Shard *shard = <const Shard *>call.host
    return shard.interrupted(shard)


cdef int call_op(const Op *op, const Shard *shard, int64_t part, int64_t n_parts, bint backward) noexcept nogil:
    cdef const cllm_op *record = <const cllm_op *>op.foreign
    cdef cllm_op_call call
    cdef void *value[MAX_SLOTS]
    cdef float *gradient[MAX_SLOTS]
    cdef int i
    cdef int32_t status
    for i in range(MAX_SLOTS):
        value[i] = value_of(op, shard, i)
        gradient[i] = gradient_of(op, shard, i)
    call.struct_size, call.n_slots = sizeof(cllm_op_call), op.n_slots
    call.part, call.n_parts, call.phase = part, n_parts, shard.phase
    call.n_sequences, call.time, call.first = shard.n_sequences, shard.time, shard.first
    call.value, call.gradient, call.add = value, gradient, op.add
    call.size, call.number = op.size, op.number
    call.scratch, call.shared, call.positions = shard.scratch, shard.shared, shard.positions
    call.op, call.sequence, call.batch, call.seed = op.id, shard.sequence, shard.batch, shard.seed
    call.interrupted, call.host = is_interrupted, shard
    status = record.backward(record.state, &call) if backward else record.forward(record.state, &call)
    if status == CLLM_OK:
        return DONE
    if status == CLLM_AGAIN or status == CLLM_STOPPED:
        return AGAIN if status == CLLM_AGAIN else STOPPED
    note(shard.refused, status)
    return REFUSED


cdef int foreign_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """What the op's struct computes forward."""
    return call_op(op, shard, part, n_parts, False)


cdef int foreign_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """What the op's struct computes backward."""
    return call_op(op, shard, part, n_parts, True)


KERNELS = {"forward": kernel_capsule(foreign_forward), "backward": kernel_capsule(foreign_backward)}


# --- by address: of functions that numba, ctypes or another compiler has made --------------------------------


cdef void free_struct(object capsule) noexcept:
    free(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)))


cdef void *new_struct(size_t size, uint64_t flags, uintptr_t describe, uintptr_t state) except NULL:
    cdef Head *head = <Head *>calloc(1, size)
    if head == NULL:
        raise MemoryError
    head.struct_size, head.abi_major, head.abi_minor = <uint32_t>size, CLLM_ABI_MAJOR, CLLM_ABI_MINOR
    head.flags, head.state, head.describe = flags, <void *>state, <Describe>describe
    return head


def reducer_capsule(
    uintptr_t merge, uintptr_t finish, uintptr_t combine, uintptr_t scratch, uintptr_t describe, uintptr_t state,
):
    """A capsule with a cllm_reducer of these addresses, 0 for NULL."""
    cdef cllm_reducer *made = <cllm_reducer *>new_struct(sizeof(cllm_reducer), 0, describe, state)
    (<uintptr_t *>&made.merge)[0], (<uintptr_t *>&made.finish)[0] = merge, finish
    (<uintptr_t *>&made.combine)[0], (<uintptr_t *>&made.scratch)[0] = combine, scratch
    return PyCapsule_New(made, b"cllm.reducer", free_struct)


def check_capsule(
    uintptr_t scan, uintptr_t finish, int64_t n_partial, int64_t n_found, uint64_t flags, uintptr_t describe,
    uintptr_t state,
):
    """A capsule with a cllm_check of these addresses."""
    cdef cllm_check *made = <cllm_check *>new_struct(sizeof(cllm_check), flags, describe, state)
    (<uintptr_t *>&made.scan)[0], (<uintptr_t *>&made.finish)[0] = scan, finish
    made.n_partial, made.n_found = n_partial, n_found
    return PyCapsule_New(made, b"cllm.check", free_struct)


def op_capsule(uintptr_t forward, uintptr_t backward, uintptr_t describe, uintptr_t state):
    """A capsule with a cllm_op of these addresses."""
    cdef cllm_op *made = <cllm_op *>new_struct(sizeof(cllm_op), 0, describe, state)
    (<uintptr_t *>&made.forward)[0], (<uintptr_t *>&made.backward)[0] = forward, backward
    return PyCapsule_New(made, b"cllm.op", free_struct)
