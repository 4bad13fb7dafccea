"""The kernels: Cython, compiled once per instruction set; cllm.kernels is the door to them."""
