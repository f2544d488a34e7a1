from .corpus import Corpus as Corpus
from .held_out import HeldOut as HeldOut
from .overlap import measure_overlap as measure_overlap
from .preparation import prepare as prepare
from .text import Text as Text
from .tokenizer import BPE as BPE
from .tokenizer import Bytes as Bytes
from .tokenizer import Pretrained as Pretrained
