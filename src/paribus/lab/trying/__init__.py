"""From one class of the user's to a study: find what it is, examine it, write the study file."""

from paribus.lab.trying.drafting import draft
from paribus.lab.trying.examination import Examination, examine
from paribus.lab.trying.idea import Idea, read_idea

__all__ = ["Examination", "Idea", "draft", "examine", "read_idea"]
