"""From one class of the user's to a study: find what it is, examine it, write the study file."""

from paribus.ideas.drafting import draft
from paribus.ideas.examination import Examination, examine
from paribus.ideas.reading import Idea, read_idea

__all__ = ["Examination", "Idea", "draft", "examine", "read_idea"]
