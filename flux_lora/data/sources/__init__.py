"""Folders, tables, shards and datasets -> samples, with a word on every file that is not one."""
