"""What is on this machine: servers that listen, model files, and what dyno can see of each engine. Starts nothing.

`servers` asks usual addresses and `recognition` says from the answers what is there; `places` knows where programs keep
their models, `model_files` reads what lies there; `observed` is the table of what each engine shows.
"""
