"""Training: an encoder for retrieval on built tasks (``loco train``), and an encoder's pretraining (``loco pretrain``).

Everything heavy is imported when a run begins: torch, transformers and sentence-transformers stand in
:mod:`loco.training.trainer`, :mod:`loco.training.retrieval` and :mod:`loco.training.masked` alone.
"""
