# SPDX-License-Identifier: Apache-2.0
"""The migrations, one file each; a number that is out is never changed again."""
