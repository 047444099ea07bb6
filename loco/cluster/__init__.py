"""How well a model's vectors keep labels apart (section 5.3 and Figure 3 of arXiv 2402.07440)."""

from __future__ import annotations

from loco.cluster.collection import Collection, read_collection
from loco.cluster.run import Clustered, cluster

__all__ = ["Clustered", "Collection", "cluster", "read_collection"]
