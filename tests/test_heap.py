"""Freed memory serves the next tensor: no page of it is asked of the kernel again."""

import platform
import subprocess
import sys

import pytest

PAGES = 16384  # 64 MiB of 4 KiB
SCRIPT = f"""
import ctypes, resource, sys, torch
from espalier.heap import keep_freed_memory
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages have 4 KiB on every machine
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
asked = []
for _ in range(10):
    before = faults()
    torch.ones({PAGES} * 1024)
    asked.append(faults() - before)
print(min(asked[1:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed blocks back")
def test_what_was_freed_is_not_asked_of_the_kernel_again():
    kept, given_back = (int(subprocess.run([sys.executable, "-c", SCRIPT, way], check=True, capture_output=True, text=True).stdout) for way in ("keep", "default"))
    assert kept < PAGES / 10
    assert given_back >= PAGES
