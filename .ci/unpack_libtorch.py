"""Unpacks what Driftscope links against from the wheels of libtorch.txt: `unpack_libtorch.py WHEELS INTO`."""

import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath

# The CUDA build of torch is the one that is published under this name; its CPU half stands alone.
NOT_ON_A_CPU = ("libtorch_cuda", "libtorch_nvshmem", "libc10_cuda", "libcaffe2_nvrtc", "libtorch_python")
CUDA_STUBS = ("libcudart.so.13", "libcupti.so.13")


def destination(member: PurePosixPath) -> PurePosixPath | None:
    """Where a file of a wheel belongs under libtorch's folder; None for what is not needed."""
    if member.parts[:2] == ("torch", "include"):
        return member.relative_to("torch")
    if member.parts[:2] == ("torch", "lib") and len(member.parts) == 3:
        return None if member.name.startswith(NOT_ON_A_CPU) else member.relative_to("torch")
    return PurePosixPath("lib", member.name) if member.name in CUDA_STUBS else None


def main(wheels: Path, into: Path) -> None:
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                target = None if info.is_dir() else destination(PurePosixPath(info.filename))
                if target is None:
                    continue
                path = into / target
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
