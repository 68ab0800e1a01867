"""Long jobs that go on: predictions are journaled, and a call that comes again plays them back.

Frames are decoded from the beginning, and the predictions that are known go to the outputs without
the network. Every output is made as a whole by one process, and is the same as without a pause.
"""

from vidparse.resume.job import check_resume, job_of
from vidparse.resume.journal import Journal, remove_stale
from vidparse.resume.stages import JournaledStages

__all__ = ["Journal", "JournaledStages", "check_resume", "job_of", "remove_stale"]
