"""Requests of users, as records. Each field carries the words of its option, once.

They load nothing that takes time, so that help and errors come at once.
"""
