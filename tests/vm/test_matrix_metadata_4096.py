#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""SSDs with metadata beside blocks of 4096 bytes: matrix_metadata.py has them, matrix.py what is done to each."""
import matrix
import matrix_metadata

matrix.main(matrix_metadata.devices(4096))
