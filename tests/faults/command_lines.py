"""Mistakes on the command line of `src.run`: flags, keys, values, groups, quotes, sweeps,
stores.
"""

import shlex

from tests.faults.entry import EXPERIMENTS, MODELS, Entry

DENOISING = "data=generated_text data.task=denoising data/batching=denoising model=denoising"

ENTRIES = [
    Entry(
        "--experiment=imdb",
        says="--experiment: there is no such flag; did you mean '+experiment=imdb'?",
    ),
    Entry(
        "model=distillation model.objective.teacher=HERE/none",
        says="model.objective.teacher=HERE/none: there is no such folder: expected the id of a run "
        "with a classifier, or the folder of its model",
    ),
    Entry(
        "--seed 3",
        says="--seed: there is no such flag; did you mean 'seed=3'?",
    ),
    Entry(
        "--lr=1e-4",
        says="--lr: there is no such flag; did you mean 'model.optim.lr=1e-4'?",
    ),
    Entry(
        "--multi-run",
        says="--multi-run: there is no such flag; did you mean '--multirun'?",
    ),
    Entry(
        "--resume abc",
        says="--resume: there is no such flag; did you mean 'resume=abc'?",
    ),
    Entry(
        "--cfg",
        says="--cfg: expected one of job, hydra, all behind it",
    ),
    Entry(
        "--cfg=foo",
        says="--cfg: expected one of job, hydra, all, found 'foo'",
    ),
    Entry(
        "+experiment=quickstart_scratch init_from=bert-base-uncased",
        says="init_from=bert-base-uncased names a model, and no run; without it, a pretrained "
        "encoder with its tokenizer is model/encoder=pretrained data/tokenizer=pretrained "
        "model.encoder.name_or_path=bert-base-uncased",
    ),
    Entry(
        "+experiment=imdb init_from=HERE/m",
        files={"m/config.json": "{}"},
        says="init_from=HERE/m names a model, and no run; without it, a pretrained encoder with "
        "its tokenizer is model/encoder=pretrained data/tokenizer=pretrained "
        "model.encoder.name_or_path=HERE/m",
    ),
    Entry(
        "init_from=runs:/0123456789abcdef0123456789abcdef/model",
        says="init_from=runs:/0123456789abcdef0123456789abcdef/model is not a run id; did you "
        "mean 'init_from=0123456789abcdef0123456789abcdef'?",
    ),
    Entry(
        "callbacks=early_stopping callbacks=weight_averaging",
        says="callbacks=early_stopping callbacks=weight_averaging: the last one alone would be "
        "there; a run has them all by callbacks=[early_stopping,weight_averaging]",
    ),
    Entry(
        "-m seed=1,2 callbacks=early_stopping callbacks=weight_averaging",
        says="callbacks=early_stopping callbacks=weight_averaging: the last one alone would be "
        "there; a run has them all by callbacks=[early_stopping,weight_averaging]",
    ),
    Entry(
        "--config-name=experiment/imdb",
        says="--config-name=experiment/imdb: it is no config of its own; an experiment is chosen "
        "by +experiment=imdb",
    ),
    Entry(
        "-m --config-name experiment/imdb.yaml seed=1,2",
        says="--config-name=experiment/imdb.yaml: it is no config of its own; an experiment is "
        "chosen by +experiment=imdb",
    ),
    Entry(
        "-cn trainer/cpu",
        says="-cn=trainer/cpu: it is no config of its own; it is chosen by trainer=cpu",
    ),
    Entry(
        "hydra.run.dir=HERE/x hydra.job.chdir=true",
        says="hydra.run.dir=HERE/x: nothing is kept there: every run keeps its files in mlruns/; "
        "tracking.root=/ABSOLUTE/FOLDER puts it elsewhere",
    ),
    Entry(
        "hydra.output_subdir=.hydra",
        says="hydra.output_subdir=.hydra: nothing is kept there: every run keeps its files in "
        "mlruns/; tracking.root=/ABSOLUTE/FOLDER puts it elsewhere",
    ),
    Entry(
        "-m seed=1,2 hydra.sweep.dir=HERE/x",
        says="hydra.sweep.dir=HERE/x: nothing is kept there: every run keeps its files in "
        "mlruns/; tracking.root=/ABSOLUTE/FOLDER puts it elsewhere",
    ),
    Entry(
        "--config-name=foo",
        says="--config-name=foo: there is no such file in conf/; an experiment is chosen by "
        "+experiment=foo",
    ),
    Entry(
        "--config-path HERE/mine",
        says="--config-path=HERE/mine: it would replace conf/; a folder of your own configs is "
        "added by --config-dir=HERE/mine",
    ),
    Entry(
        "--config=mine",
        says="--config: there is no such flag; a folder of your own configs is added by "
        "--config-dir=mine",
    ),
    Entry(
        "--config_dir=mine",
        says="--config_dir: there is no such flag; a folder of your own configs is added by "
        "--config-dir=mine",
    ),
    Entry(
        "--config mine/small.yaml",
        says="--config: there is no such flag; a file of your own is an experiment: as "
        "FOLDER/experiment/small.yaml it is chosen by --config-dir=FOLDER +experiment=small",
    ),
    Entry(
        "--config-dir=/nope",
        says="--config-dir=/nope: there is no such folder; looked for /nope",
    ),
    Entry(
        "model.optim.lr 1e-4",
        says="'model.optim.lr 1e-4' has no '='; did you mean 'model.optim.lr=1e-4'?",
    ),
    Entry(
        "model.optim.lr = 1e-4",
        says="'model.optim.lr = 1e-4' has blanks around '='; did you mean 'model.optim.lr=1e-4'?",
    ),
    Entry(
        "=3",
        says="'=3' has no key: expected KEY=VALUE, without spaces around the equals sign",
    ),
    Entry(
        "model.optim.lr=",
        says="model.optim.lr: expected a number above 0 and at most 1, found ''",
    ),
    Entry(
        "name=",
        says="name is empty: expected the beginning of the run's name",
    ),
    Entry(
        "trainer=",
        says="trainer=: there is no such choice; valid: auto, cpu, ddp, fsdp, gpu",
    ),
    Entry(
        "seed=1.5",
        says="seed: expected a whole number at least 0 and at most 4294967295, found 1.5",
    ),
    Entry(
        "trainer.max_steps=1e3",
        says="trainer.max_steps: expected a whole number at least 1 or null, found 1000.0; did "
        "you mean 1000?",
    ),
    Entry(
        "trainer.max_epochs=\"'3'\"",
        says="trainer.max_epochs: expected a whole number at least 1 or null, found '3'; did you "
        "mean 3?",
    ),
    Entry(
        "data.batching.batch_size=32.0",
        says="data.batching.batch_size: expected a whole number at least 1, found 32.0; did you "
        "mean 32?",
    ),
    Entry(
        "model.optim.lr=1e-4x",
        says="model.optim.lr: expected a number above 0 and at most 1, found '1e-4x'",
    ),
    Entry(
        "model.optim.lr=nan",
        says="model.optim.lr: expected a number above 0 and at most 1, found nan",
    ),
    Entry(
        "model.optim.lr=1,5e-4",
        says=(
            "model.optim.lr=1,5e-4: several values make several runs, which -m asks for (python "
            "-m src.run -m "
            "...); as one number it is typed model.optim.lr=1.5e-4"
        ),
    ),
    Entry(
        "model.optim.lr=0,001 trainer.max_steps=10,000",
        says=(
            "model.optim.lr=0,001: a comma separates values; as one number it is typed "
            "model.optim.lr=0.001\n"
            "trainer.max_steps=10,000: a comma separates values; as one number it is typed "
            "trainer.max_steps=10000"
        ),
    ),
    Entry(
        "-m model.optim.lr=0,001 seed=1,2",
        says="model.optim.lr=0,001: a comma separates values; as one number it is typed "
        "model.optim.lr=0.001",
    ),
    Entry(
        "-m trainer.max_steps=10,000",
        says="trainer.max_steps=10,000: a comma separates values; as one number it is typed "
        "trainer.max_steps=10000",
    ),
    Entry(
        "trainer.max_steps='10 000'",
        says="trainer.max_steps: expected a whole number at least 1 or null, found '10 000'; did "
        "you mean 10000?",
    ),
    Entry(
        "model.optim.lr=1e-3,1e-4",
        says="model.optim.lr=1e-3,1e-4: several values make several runs, which -m asks for "
        "(python -m src.run -m ...)",
    ),
    Entry(
        "name=a,b",
        says="name=a,b: several values make several runs, which -m asks for (python -m src.run "
        "-m ...); as a text it is typed 'name=\"a,b\"'",
    ),
    Entry(
        "trainer.max_stepss=1,000",
        says="trainer.max_stepss: there is no such key; did you mean 'max_steps'?",
    ),
    Entry(
        "model.encoder.dropout=1",
        says="model.encoder.dropout: expected a number at least 0 and below 1, found 1",
    ),
    Entry(
        "model.optim.warmup_fraction=500",
        says="model.optim.warmup_fraction: expected a number at least 0 and at most 1, found 500",
    ),
    Entry(
        "model.encoder.family=roberta",
        says="model.encoder.family: expected one of bert, modernbert, electra, gpt2, bart, t5, "
        "found 'roberta'; did you mean 'bert'?",
    ),
    Entry(
        "trainer.deterministic=yes",
        says="trainer.deterministic: expected true or false, found 'yes'; did you mean true?",
    ),
    Entry(
        "trainer.precision=fp16",
        says="trainer.precision: expected one of auto, fp32, bf16, found 'fp16'; did you mean "
        "'bf16'?",
    ),
    Entry(
        "trainer.accelerator=cuda",
        says="trainer.accelerator: expected one of auto, cpu, gpu, mps, found 'cuda'; did you mean "
        "gpu?",
    ),
    Entry(
        "trainer.accelerator=gpu",
        says="trainer.accelerator=gpu, but torch sees no GPU here; trainer=cpu or trainer=auto "
        "would run",
    ),
    Entry(
        "trainer.accelerator=mps",
        says="trainer.accelerator=mps, but torch sees no Apple GPU here; trainer=cpu or "
        "trainer=auto would run",
    ),
    Entry(
        "trainer=cpu +trainer=gpu",
        says="+trainer=gpu: this group has a default that is replaced, as trainer=gpu",
    ),
    Entry(
        "trainer.devices=-1",
        says="trainer.devices: expected a whole number at least 1 or auto, found -1; did you mean "
        "auto?",
    ),
    Entry(
        "trainer.accelerator=gpu trainer.threads=4",
        says=(
            "trainer: threads belong to trainer.accelerator=cpu; trainer.threads=null takes them "
            "back"
        ),
    ),
    Entry(
        "data.label_names=negative,positive",
        says=(
            "data.label_names=negative,positive: several values make several runs, which -m asks "
            "for (python -m "
            "src.run -m ...); one list is written data.label_names=[negative,positive]"
        ),
    ),
    Entry(
        "data.label_names=negative",
        says=(
            "data.label_names=negative: there is no such file; names stand in a list, "
            "data.label_names=[neg,pos], or one a line in a file, data.label_names=labels.txt"
        ),
    ),
    Entry(
        "data.label_names=[negative]",
        says="data.label_names has 1 (negative); a classifier needs at least 2",
    ),
    Entry(
        "data.label_names=[good,good]",
        says="data.label_names: 'good' stands there 2 times",
    ),
    Entry(
        "data.label_values=[1]",
        says="data.label_values has 1 for 2 label names; expected one for each",
    ),
    Entry(
        "data.label_values=[0,0]",
        says="data.label_values: '0' stands there 2 times",
    ),
    Entry(
        "data.num_labels=1",
        says=(
            "data.num_labels: expected a whole number at least 2 or null, found 1\n"
            "data.num_labels=1, but data.label_names has 2: negative, positive "
            "(data.num_labels=2, or other "
            "names)"
        ),
    ),
    Entry(
        "data.split.validation=20",
        says="data.split.validation: expected a number at least 0 and at most 1, found 20",
    ),
    Entry(
        "data.split.validation=0.6 data.split.test=0.5",
        says=(
            "data.split.validation=0.6 and data.split.test=0.5 leave nothing for train; together "
            "they must be below 1"
        ),
    ),
    Entry(
        "data.on_device=true",
        says="data.on_device=true goes with data.task=masked_lm, found data.task=classification",
    ),
    Entry(
        "data.batching.batch_tokens=16",
        says=(
            "data.batching: batch_tokens=16 has no room for a text of max_tokens=64 "
            "(data.batching.batch_tokens, "
            "data.batching.max_tokens)"
        ),
    ),
    Entry(
        "callbacks=early_stopping callbacks.early_stopping.patience=-1",
        says="callbacks.early_stopping.patience: expected a whole number at least 1, found -1",
    ),
    Entry(
        "model=bert",
        says="model=bert: there is no such choice; the encoder is chosen by model/encoder=base, or "
        "as a pretrained one by model/encoder=pretrained data/tokenizer=pretrained "
        "model.encoder.name_or_path=NAME",
    ),
    Entry(
        "data=imbd",
        says="data=imbd: there is no such choice; did you mean 'imdb'?",
    ),
    Entry(
        "tracking=https://server:5000",
        says="tracking=https://server:5000: there is no such choice; valid: local, offline, server",
    ),
    Entry(
        "model/optim=adam",
        says="model/optim=adam: there is no such choice; did you mean 'adamw'?",
    ),
    Entry(
        "data/batching=masked",
        says=(
            "data.task=classification does not go with data.batching=Masked; "
            "data/batching=labelled fits"
        ),
    ),
    Entry(
        "optim=muon",
        says="optim: there is no such key; an optimizer is model/optim=adamw or model/optim=muon; "
        "model/optim=torch takes any of torch",
    ),
    Entry(
        "epochs=3",
        says="epochs: there is no such key; did you mean 'trainer.max_epochs'?",
    ),
    Entry(
        "model.optim=muon",
        says="model.optim=muon: a choice is written with slashes, as model/optim=muon",
    ),
    Entry(
        "trainer.epochs=3",
        says="trainer.epochs: there is no such key; did you mean 'max_epochs'?",
    ),
    Entry(
        "trainer.batch_size=32",
        says="trainer.batch_size: there is no such key; did you mean 'data.batching.batch_size'?",
    ),
    Entry(
        "data.path=a.csv",
        says="data.path: there is no such key; did you mean 'data.source.path'? "
        "(+experiment=files, or data/source=files|hub, has it)",
    ),
    Entry(
        "+trainer=cpu",
        says="+trainer=cpu: this group has a default that is replaced, as trainer=cpu",
    ),
    Entry(
        "model=null",
        says=f"model=null: there is no such choice; valid: {', '.join(MODELS)}",
    ),
    Entry(
        "~model",
        says=f"model: must be given, as model={'|'.join(MODELS)}",
    ),
    Entry(
        "~model.encoder",
        says=(
            "model.encoder: must be given, as "
            "model/encoder=bart_tiny|base|electra_tiny|gpt_mini|mini|modern_mini|modern_tiny|pretrained|"
            "small|t5_tiny|tiny"
        ),
    ),
    Entry(
        "~model.optim.lr",
        says="model.optim.lr: must be given, as model.optim.lr=VALUE",
    ),
    Entry(
        "-m +experiment=quickstart_scratch seed=[1,2,3]",
        says="seed: expected a whole number at least 0 and at most 4294967295, "
        "found [1, 2, 3]; several runs are listed "
        "without brackets, as -m seed=1,2,3",
    ),
    Entry(
        "+experiment=quickstart_scratch seed=[1,2] model.freeze=[1,nothing]",
        says="seed: expected a whole number at least 0 and at most 4294967295, "
        "found [1, 2]; several runs are listed "
        "without brackets, as -m seed=1,2\n"
        "model.freeze: expected one of nothing, embeddings, encoder or a whole number at least 0, "
        "found [1, 'nothing']; several runs are listed without brackets, as -m "
        "model.freeze=1,nothing",
    ),
    Entry(
        "model/optim=[adamw,muon]",
        says="model/optim=[adamw,muon]: a run has one of these; several runs are listed without "
        "brackets, as -m model/optim=adamw,muon",
    ),
    Entry(
        "-m +experiment=[imdb,sst2]",
        says="+experiment=[imdb,sst2]: a run has one of these; several runs are listed without "
        "brackets, as -m +experiment=imdb,sst2",
    ),
    Entry(
        "model/encoder=bert_tiny",
        says="model/encoder=bert_tiny: there is no such choice; did you mean 'tiny'?",
    ),
    Entry(
        "model/encoder=t5_small",
        says="model/encoder=t5_small: there is no such choice; did you mean 't5_tiny'?",
    ),
    Entry(
        "-m model=tiny search=tpe",
        says="model=tiny: there is no such choice; did you mean 'model/encoder=tiny'?\n"
        "search=tpe: there is no such choice; did you mean 'search/sampler=tpe'?",
    ),
    Entry(
        "-m +experiment=quickstart_scratch seed=1-5",
        says="seed: expected a whole number at least 0 and at most 4294967295, "
        "found '1-5'; several seeds are listed as "
        "-m 'seed=range(1,6)'",
    ),
    Entry(
        "model/optim=sgd",
        says="model/optim=sgd: there is no such choice; did you mean 'torch'?",
    ),
    Entry(
        "seed = 3",
        says="'seed = 3' has blanks around '='; did you mean 'seed=3'?",
    ),
    Entry(
        "seed= 3 trainer.max_steps =2 model.optim.lrr=1",
        says="'seed= 3' has blanks around '='; did you mean 'seed=3'?\n"
        "'trainer.max_steps =2' has blanks around '='; did you mean 'trainer.max_steps=2'?\n"
        "model.optim.lrr: there is no such key; did you mean 'lr'?",
    ),
    Entry(
        "tags=[baseline,a]",
        says="tags: expected a mapping to a text or a number or true or false or null, found "
        "['baseline', 'a']; one is typed as tags.NAME=VALUE",
    ),
    Entry(
        "-m +experiment=quickstart_scratch",
        says="there is no option -m; python -m src.run -m makes several runs, and the range test "
        "is one",
        program="lr_range",
    ),
    Entry(
        "0123456 'A great film'",
        says="'0123456' is not an option: expected key=value, with one of run, text, pair, file, "
        "column, pair_column, split, output, overwrite, strict, batch_tokens, precision, backend, "
        "model, decision_rule, uri, root; did you mean run=0123456 'text=A great film'?",
        program="predict",
    ),
    Entry(
        "8080",
        says="'8080' is not an option: expected key=value, with one of port, uri, experiment, "
        "root; did you mean port=8080?",
        program="ui",
    ),
    Entry(
        "model/encoder/layers=3",
        says="model/encoder/layers: there is no such key; did you mean 'model.encoder.layers'?",
    ),
    Entry(
        "+experiment=imdb,sst2",
        says=(
            "+experiment=imdb,sst2: several values make several runs, which -m asks for (python "
            "-m src.run -m "
            "...)"
        ),
    ),
    Entry(
        "+experiment=imdb +experiment=sst2",
        says="+experiment=imdb and +experiment=sst2: a run takes one experiment; with -m several "
        "make several runs",
    ),
    Entry(
        "+experiments=imdb",
        says="experiments: there is no such key; did you mean '+experiment'?",
    ),
    Entry(
        "+experiment=conf/experiment/imdb.yaml",
        says=(
            "experiment=conf/experiment/imdb.yaml: there is no such choice; valid: "
            + ", ".join(EXPERIMENTS)
        ),
    ),
    Entry(
        "+experiment=IMDB",
        says="experiment=IMDB: there is no such choice; did you mean 'imdb'?",
    ),
    Entry(
        "+seed=2",
        says="+seed=2: the key is there already and is changed without +, as seed=2",
    ),
    Entry(
        "++model.optim.lrr=2e-4",
        says="model.optim.lrr: there is no such key; did you mean 'lr'?",
    ),
    Entry(
        "name=my run",
        says="'run' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces want "
        "quotes)",
    ),
    Entry(
        "name={a",
        says="'name={a' cannot be read: a bracket or quote is left open; "
        "as a text it is typed 'name=\"{a\"'",
    ),
    Entry(
        "name=\\'a",
        says="'name='a' cannot be read: a bracket or quote is left open; as a text it is typed "
        + shlex.quote('name="\'a"'),
    ),
    Entry(
        "name=a=b",
        says="'name=a=b' cannot be read: a value with special characters wants quotes; "
        "as a text it is typed 'name=\"a=b\"'",
    ),
    Entry(
        "tags={a:1",
        says="'tags={a:1' cannot be read: a bracket or quote is left open; "
        "as a text it is typed 'tags=\"{a:1\"'",
    ),
    Entry(
        "name=${oc.env:NO_SUCH_VARIABLE}",
        says=(
            "name: ${oc.env:NO_SUCH_VARIABLE} cannot be resolved: Environment variable "
            "'NO_SUCH_VARIABLE' not found"
        ),
    ),
    Entry(
        "name=${nope:1}",
        says="name: ${nope:1} cannot be resolved: Unsupported interpolation type nope",
    ),
    Entry(
        "name=${model.optim.lrr}",
        says="name: takes its value from model.optim.lrr, and there is no such key; did you mean "
        "'model.optim.lr'?",
    ),
    Entry(
        "model.optim.lr=${model.optim.lr}",
        says="model.optim.lr: ${model.optim.lr} cannot be resolved: Recursive interpolation "
        "detected",
    ),
    Entry(
        "seed=${name}",
        says="seed: expected a whole number at least 0 and at most 4294967295, found 'run'",
    ),
    Entry(
        "-m model.optim.lr=1e-5,2",
        says="model.optim.lr: expected a number above 0 and at most 1, found 2",
    ),
    Entry(
        "-m model.optim.lr=range(0,3)",
        says=(
            "model.optim.lr: expected a number above 0 and at most 1, found 0\n"
            "model.optim.lr: expected a number above 0 and at most 1, found 2"
        ),
    ),
    Entry(
        "-m model.optim.lr=interval(0,1)",
        says=(
            "model.optim.lr: expected a number above 0 and at most 1, found 0.0\n"
            "model.optim.lr=interval(0,1): a grid takes every listed value, and an interval lists "
            "none; "
            "search/sampler=tpe search.max_trials=20 draws from it"
        ),
    ),
    Entry(
        "-m seed=range(1,3,0)",
        says="seed=range(1,3,0): the step of a range must not be 0",
    ),
    Entry(
        "-m seed=range(1,-1)",
        says="seed=range(1,-1): no value lies in it, so that there would be no run",
    ),
    Entry(
        "-m model=glob(x*)",
        says=f"model=glob(x*): there is no such choice; valid: {', '.join(MODELS)}",
    ),
    Entry(
        "hydra.run.dirr=x",
        says="hydra.run.dirr: Key 'dirr' not in 'RunDir'",
    ),
    Entry(
        "hydra.mode=MULTI",
        says="hydra.mode: Invalid value 'MULTI', expected one of [RUN, MULTIRUN]",
    ),
    Entry(
        "trainer=fsdp model/optim=muon",
        says=(
            "model.optim is Muon, which needs whole matrices, but trainer.strategy=fsdp divides "
            "them; "
            "trainer=ddp or model/optim=adamw fits"
        ),
    ),
    Entry(
        "+experiment=mlm_quickstart model=replaced_tokens model/encoder=electra_tiny trainer=fsdp",
        says=(
            "model.objective has a generator that shares its embeddings with the encoder, which "
            "trainer.strategy=fsdp divides among devices; trainer=ddp or model=masked_lm fits"
        ),
    ),
    Entry(
        f"{DENOISING} model/encoder=tiny",
        says=(
            "model.encoder.family=bert: this family has no decoder, which is to write what noise "
            "has hidden: expected bart or t5"
        ),
    ),
    Entry(
        "data=generated_text data.task=denoising data/batching=denoising model=masked_lm",
        says=(
            "data.task=denoising, but model.objective is for masked_lm "
            "(src.model.objectives.masked_lm.MaskedLM); "
            "model=denoising or data.task=masked_lm data/batching=masked fits"
        ),
    ),
    Entry(
        f"{DENOISING} model.freeze=encoder",
        says=(
            "model.freeze=encoder: the output layer is the embeddings, so nothing would be left to "
            "train: expected nothing, embeddings or a number of layers"
        ),
    ),
    Entry(
        f"{DENOISING} data.batching.target=spans data.batching.deletion_fraction=0.1",
        says=(
            "data.batching.deletion_fraction=0.1: where the missing spans are to be written "
            "nothing else is undone; "
            "data.batching.target=text or data.batching.deletion_fraction=0 fits"
        ),
    ),
    Entry(
        "data/augmentation=words data.augmentation.masked_lm=./none",
        says="data.augmentation.masked_lm: there is no folder ./none",
    ),
    Entry(
        "tracking.uri=mlruns",
        says=(
            "tracking.uri=mlruns is not the address of a store: expected null (a SQLite file in "
            "mlruns/), "
            "sqlite:///FILE, postgresql://... or http(s)://..."
        ),
    ),
    Entry(
        "tracking.uri=htp://localhost:5000",
        says=(
            "tracking.uri=htp://localhost:5000 begins with an unknown 'htp': did you mean "
            "'http'?; expected null "
            "(a SQLite file in mlruns/), sqlite:///FILE, postgresql://... or http(s)://..."
        ),
    ),
    Entry(
        "tracking.uri=file:///tmp/runs",
        says=(
            "tracking.uri=file:///tmp/runs is not the address of a store: expected null (a SQLite "
            "file in "
            "mlruns/), sqlite:///FILE, postgresql://... or http(s)://..."
        ),
    ),
    Entry(
        "tracking.uri=sqlite:///",
        says="tracking.uri=sqlite:/// names no file: expected sqlite:///FILE",
    ),
    Entry(
        "tracking.uri=sqlite://runs.db",
        says="tracking.uri=sqlite://runs.db names no file: expected sqlite:///FILE",
    ),
    Entry(
        "tracking.root=here",
        says="tracking.root=here: expected the project's absolute folder; did you mean "
        "'HERE/here'?",
    ),
    Entry(
        "tracking.experiment=\"''\"",
        says="tracking.experiment is empty: expected the name under which the UI lists the runs",
    ),
    Entry(
        "tracking.flush_seconds=-1",
        says="tracking.flush_seconds: expected a number at least 0, found -1",
    ),
]
