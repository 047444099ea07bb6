"""M2-BERT, the encoder of the LoCoV1 paper (arXiv 2402.07440), as transformers knows a model.

Importing this package makes it known to transformers' Auto classes as ``m2_bert``.
"""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from .configuration import M2BertConfig
from .modeling import M2BertForMaskedLM, M2BertModel

__all__ = ["M2BertConfig", "M2BertForMaskedLM", "M2BertModel"]

AutoConfig.register(M2BertConfig.model_type, M2BertConfig, exist_ok=True)
AutoModel.register(M2BertConfig, M2BertModel, exist_ok=True)
AutoModelForMaskedLM.register(M2BertConfig, M2BertForMaskedLM, exist_ok=True)
