"""Mattes of segments: soft edges that follow the picture, steady in time, with clean colours."""
