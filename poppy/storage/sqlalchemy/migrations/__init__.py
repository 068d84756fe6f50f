# SPDX-License-Identifier: Apache-2.0
"""Alembic's environment; run by :mod:`poppy.storage.sqlalchemy.upgrade`."""
