# SPDX-License-Identifier: Apache-2.0
"""The optional fields of a service document (v1.1).

Each module has one field: its dataclasses, from which :mod:`.codec` derives schema, JSON and
needed capabilities, and ``check`` for rules that a schema can't express. :mod:`.fields` lists
them.
"""
