"""The leaderboard: result files to a static site that opens from a folder.

It knows loco's results; nothing in loco knows it. Installed, this folder is the package ``loco_leaderboard``.
"""
