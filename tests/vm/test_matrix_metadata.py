#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""SSDs with metadata beside blocks of 512 bytes: matrix_metadata.py has them, matrix.py what is done to each."""
import matrix
import matrix_metadata

DEVICES = matrix_metadata.devices(512)
DEVICES["8_bytes_separate"].short = True

matrix.main(DEVICES)
