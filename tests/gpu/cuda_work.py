"""Work for a GPU through the driver alone, with neither torch nor nvcc: libcuda compiles the PTX below.

    python cuda_work.py burn SECONDS          keep all of it busy
    python cuda_work.py hold BYTES SECONDS    have that much of its memory
    python cuda_work.py wrong-address         write where nothing is (Xid 31 or 13)
    python cuda_work.py exhaust               allocate until there is no more
    python cuda_work.py steps COUNT           the median of so many short steps, in milliseconds

Prints `ready` once it is on the GPU. Exits 3 with CUDA's error on stderr, 77 where this libcuda can't compute.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time

CANT_COMPUTE, CUDA_FAILED = 77, 3
_NEEDED = ("cuCtxCreate_v2", "cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel", "cuMemAlloc_v2", "cuCtxSynchronize")
_BLOCKS, _THREADS, _ROUNDS = 2048, 256, 20_000

_PTX = b"""
.version 6.0
.target sm_70
.address_size 64
.visible .entry burn(.param .u64 to, .param .u32 rounds)
{
    .reg .f32 %f<3>;
    .reg .u32 %r<3>;
    .reg .u64 %d<2>;
    .reg .pred %p<2>;
    ld.param.u64 %d0, [to];
    ld.param.u32 %r0, [rounds];
    mov.u32 %r1, 0;
    mov.f32 %f0, 0f3F800000;
    mov.f32 %f1, 0f3F800001;
again:
    fma.rn.f32 %f0, %f0, %f1, %f1;
    fma.rn.f32 %f0, %f0, %f1, %f1;
    fma.rn.f32 %f0, %f0, %f1, %f1;
    fma.rn.f32 %f0, %f0, %f1, %f1;
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p0, %r1, %r0;
    @%p0 bra again;
    st.global.f32 [%d0], %f0;
    ret;
}
.visible .entry wrong(.param .u64 to)
{
    .reg .u32 %r<2>;
    .reg .u64 %d<2>;
    ld.param.u64 %d0, [to];
    mov.u32 %r0, 1;
    st.global.u32 [%d0], %r0;
    ret;
}
"""


class Cuda:
    """A context on the first device."""

    def __init__(self) -> None:
        self._library = _libcuda()
        missing = [name for name in _NEEDED if not hasattr(self._library, name)]
        if missing:
            sys.stderr.write(f"this libcuda lacks {', '.join(missing)}\n")
            sys.exit(CANT_COMPUTE)
        self.call("cuInit", 0)
        device, self._context, self._module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuCtxCreate_v2", ctypes.byref(self._context), 0, device)
        self.call("cuModuleLoadData", ctypes.byref(self._module), ctypes.c_char_p(_PTX))

    def call(self, name: str, *arguments: object) -> None:
        error = getattr(self._library, name)(*arguments)
        if error:
            sys.stderr.write(f"{name}: CUDA error {error}\n")
            sys.exit(CUDA_FAILED)

    def memory(self, count: int) -> ctypes.c_uint64:
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(count))
        return address

    def run(self, name: str, *values: ctypes.c_uint64 | ctypes.c_uint32, blocks: int, threads: int) -> None:
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        shape = [ctypes.c_uint(number) for number in (blocks, 1, 1, threads, 1, 1, 0)]
        self.call("cuLaunchKernel", function, *shape, None, pointers, None)
        self.call("cuCtxSynchronize")


def _libcuda() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:  # it lies elsewhere than the loader looks
        from runtime.gpu.nvidia.driver import find_driver

        return ctypes.CDLL(str(find_driver().directories[0] / "libcuda.so.1"))


def _step_ms(cuda: Cuda, to: ctypes.c_uint64) -> float:
    started = time.perf_counter()
    cuda.run("burn", to, ctypes.c_uint32(_ROUNDS // 20), blocks=_BLOCKS, threads=_THREADS)
    return 1000 * (time.perf_counter() - started)


def main(how: str, *arguments: str) -> None:
    cuda = Cuda()
    somewhere = cuda.memory(int(arguments[0]) if how == "hold" else 4096)
    print("ready", flush=True)
    if how == "burn":
        deadline = time.monotonic() + float(arguments[0])
        while time.monotonic() < deadline:
            cuda.run("burn", somewhere, ctypes.c_uint32(_ROUNDS), blocks=_BLOCKS, threads=_THREADS)
    elif how == "hold":
        time.sleep(float(arguments[1]))
    elif how == "wrong-address":
        cuda.run("wrong", ctypes.c_uint64(0x10), blocks=1, threads=1)
    elif how == "steps":
        print(statistics.median(_step_ms(cuda, somewhere) for _ in range(int(arguments[0]))))
    elif how == "exhaust":
        while True:
            cuda.memory(1 << 30)


if __name__ == "__main__":
    main(*sys.argv[1:])
