"""What training needs of a container without asking: limits, shared memory, what the kernel does with huge pages."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from runtime.container.init_setup import give_program_its_limits
from tests.kernel.forked import forked
from tests.kernel.userland import inside

pytestmark = pytest.mark.requires("overlayfs", "userns", "proc")

LIMITS = "import resource\nanswer = {name: resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in %r}"


def most_locked_memory() -> int:
    """What this user may allow a program: anything with CAP_SYS_RESOURCE, else the hard limit."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return resource.RLIM_INFINITY


def test_a_program_may_lock_memory_recurse_and_open_many_files(tmp_path: Path) -> None:
    limits = inside(tmp_path, LIMITS % (("MEMLOCK", "STACK", "NOFILE"),))
    assert forked(most_locked_memory) == limits["MEMLOCK"][0]
    assert limits["STACK"][0] in (resource.RLIM_INFINITY, limits["STACK"][1]) or limits["STACK"][0] >= 64 << 20
    assert limits["NOFILE"][0] >= min(limits["NOFILE"][1], 1 << 16)


def test_a_limit_that_is_higher_already_stays() -> None:
    def stack_after_more_was_allowed() -> tuple[int, int]:
        resource.setrlimit(resource.RLIMIT_STACK, (80 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        give_program_its_limits()
        return resource.getrlimit(resource.RLIMIT_STACK)

    assert [80 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]] == forked(stack_after_more_was_allowed)


def test_shared_memory_has_the_size_that_was_asked_for(tmp_path: Path) -> None:
    assert 96 << 20 == inside(
        tmp_path, "import os\nfound = os.statvfs('/dev/shm')\nanswer = found.f_frsize * found.f_blocks", shm_bytes=96 << 20
    )


def test_what_the_kernel_does_with_huge_pages_can_be_read(tmp_path: Path) -> None:
    place = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(place):
        pytest.skip("this kernel has no transparent huge pages")
    assert Path(place).read_text() == inside(tmp_path, f"answer = open({place!r}).read()")
