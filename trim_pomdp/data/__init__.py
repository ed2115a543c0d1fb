"""Readers of the data that routing is fitted on; every record is validated as it is read."""
