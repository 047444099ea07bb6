"""The models loco knows: one file or folder a family, and ``cards.toml`` as the list of them."""
