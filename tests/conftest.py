"""All tests run on the CPU, also where there is a GPU: bytes are promised for one machine and one precision. Processes that tests start inherit it."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
