"""How a kernel leaves its module: as a capsule that only the lowering opens."""

from cpython.pycapsule cimport PyCapsule_New

from cllm._kernels.op cimport Kernel


cdef inline object kernel_capsule(Kernel kernel):
    return PyCapsule_New(<void *>kernel, b"cllm.kernel", NULL)
