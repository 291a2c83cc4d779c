"""Tools around the runtime: data sets, pretraining, fine-tuning, meters and the commands that use them."""
