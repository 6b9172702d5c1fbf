"""Mistakes of a search: each is found before the first trial."""

from tests.faults.entry import Entry

ENTRIES = [
    Entry(
        "-m hydra/sweeper=optuna",
        says="hydra/sweeper=optuna: there is no such choice; a search draws its values by -m "
        "search/sampler=tpe search.max_trials=20",
    ),
    Entry(
        "-m seed=1,2 hydra.sweeper.sampler.seed=3",
        says="hydra.sweeper.sampler: there is no such key; a search draws its values by -m "
        "search/sampler=tpe search.max_trials=20",
    ),
    Entry(
        "-m seed=1,2 hydra/launcher=joblib",
        says="hydra/launcher=joblib: there is no such choice; trials run side by side by -m "
        "search.jobs=2",
    ),
    Entry(
        "-m seed=1,2 hydra/launcher=ray",
        says="hydra/launcher=ray: there is no such choice; trials run on Ray by -m "
        "search.launcher=ray",
    ),
    Entry(
        "-m seed=1,2 search.launcher=ray search.ray.address=http://head:8265",
        says="search.ray.address=http://head:8265: expected auto, local, HOST:PORT or "
        "ray://HOST:PORT",
    ),
    Entry(
        "-m seed=1,2 search.launcher=ray search.ray.address=127.0.0.1:9",
        says="search.ray.address=127.0.0.1:9: nothing listens there (Connection refused); "
        "`ray status` on a node of the cluster says whether it runs",
    ),
    Entry(
        "-m",
        says=(
            "-m makes several runs, and nothing varies: expected listed values, as "
            "model.optim.lr=1e-5,2e-5, "
            "or a search, as search=learning_rate"
        ),
    ),
    Entry(
        "-m search=learning_rate model.optim.lr=1e-4",
        says=(
            "-m makes several runs, and nothing varies: expected listed values, as "
            "model.optim.lr=1e-5,2e-5, "
            "or a search, as search=learning_rate"
        ),
    ),
    Entry(
        "-m model.optim.lr=range(1e-5,1e-3)",
        says=(
            "model.optim.lr=range(1e-5,1e-3): only 1e-05 lies in it, since its step is 1: "
            "expected range(START,STOP,STEP); a search draws from it by -m search/sampler=tpe "
            "search.max_trials=20 'model.optim.lr=tag(log, interval(1e-05,0.001))'"
        ),
    ),
    Entry(
        "-m model.encoder.dropout=range(0,0.5)",
        says=(
            "model.encoder.dropout=range(0,0.5): only 0.0 lies in it, since its step is 1: "
            "expected range(START,STOP,STEP); a search draws from it by -m search/sampler=tpe "
            "search.max_trials=20 'model.encoder.dropout=interval(0,0.5)'"
        ),
    ),
    Entry(
        "-m 'trainer.max_steps=int(1,10)'",
        says=(
            "trainer.max_steps=int(1,10): these are the two values 1 and 10; they are listed as "
            "-m trainer.max_steps=1,10, and a search draws from all between by -m "
            "search/sampler=tpe search.max_trials=20 'trainer.max_steps=int(interval(1,10))'"
        ),
    ),
    Entry(
        "-m search=learningrate",
        says="search=learningrate: there is no such choice; did you mean 'learning_rate'?",
    ),
    Entry(
        "-m 'model.optim.lr=tag(log,interval(0,1))' search/sampler=tpe search.max_trials=20",
        says=(
            "model.optim.lr: expected a number above 0 and at most 1, found 0.0\n"
            "model.optim.lr=tag(log,interval(0,1)): on a logarithmic scale all numbers are above "
            "0, and this "
            "begins with 0.0"
        ),
    ),
    Entry(
        "-m model.optim.lr=interval(1e-3,1e-5) search/sampler=random search.max_trials=20",
        says=(
            "model.optim.lr=interval(1e-3,1e-5): expected a first bound below the second, found "
            "0.001 and 1e-05"
        ),
    ),
    Entry(
        "-m search/sampler=tpe model.optim.lr=interval(1e-6,5)",
        says=(
            "model.optim.lr: expected a number above 0 and at most 1, found 5.0\n"
            "search.sampler is TPE, which has no end: expected search.max_trials=20, "
            "search.max_hours or "
            "search.max_tokens"
        ),
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 data.batching.batch_size=interval(1,8)",
        says=(
            "data.batching.batch_size=interval(1,8): data.batching.batch_size is a whole number; "
            "int(interval(1,8)) draws such"
        ),
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 "
        "'data.batching.batch_size=int(interval(0,8))'",
        says="data.batching.batch_size: expected a whole number at least 1, found 0",
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 "
        "'model.optim.lr=tag(lin,interval(1e-6,1e-3))'",
        says=(
            "model.optim.lr=tag(lin,interval(1e-6,1e-3)): the tag 'lin' means nothing here; log "
            "is the one that does"
        ),
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 "
        "'model.optim.lr=tag(log,range(1e-3,1e-2,1e-3))'",
        says=(
            "model.optim.lr=tag(log,range(1e-3,1e-2,1e-3)): log does not go with a range, whose "
            "steps are "
            "equal; tag(log, interval(START,STOP)) has none"
        ),
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 model.optim.lr=interval(a,b)",
        says=(
            "'model.optim.lr=interval(a,b)' cannot be read: expected two numbers, as in "
            "model.optim.lr=interval(0,1) or tag(log, interval(1e-6,1))"
        ),
    ),
    Entry(
        "-m search/sampler=random search.max_trials=5 model.optim.lrr=interval(1e-6,1e-3)",
        says="model.optim.lrr: there is no such key; did you mean 'lr'?",
    ),
    Entry(
        "-m search/sampler=cmaes search.max_trials=50 model/optim=adamw,muon",
        says=(
            "model/optim=adamw,muon: CMA-ES moves through numbers, and these are choices; "
            "search/sampler=tpe can do it"
        ),
    ),
    Entry(
        "-m search/sampler=cmaes search.max_trials=50 model.optim.lr=interval(1e-6,1e-3)",
        says=(
            "model.optim.lr is the only key that varies, and CMA-ES needs two or more; "
            "search/sampler=tpe can do it"
        ),
    ),
    Entry(
        "-m seed=range(0,200) data.seed=range(0,200)",
        says=(
            "a grid of 200 x 200 = 40000 trials: expected at most 10000; search/sampler=random "
            "search.max_trials=20 takes some of them"
        ),
    ),
    Entry(
        "-m seed=1,2,3 search.max_trials=2",
        says=(
            "search.max_trials=2 is less than the 3 trials of the grid; search/sampler=random "
            "takes some of "
            "them by chance"
        ),
    ),
    Entry(
        "-m seed=1,2 search.monitor=val/acc search.mode=max",
        says="search.monitor=val/acc: no trial reports it; did you mean 'val/accuracy'?",
    ),
    Entry(
        "-m seed=1,2 search.monitor=val/pearson search.mode=max",
        says="search.monitor=val/pearson: no trial reports it; valid: val/accuracy, val/f1_macro, "
        "val/loss",
    ),
    Entry(
        "-m seed=1,2 search.monitor=val/accuracy",
        says="search.mode=min, but of search.monitor=val/accuracy more is better; search.mode=max "
        "fits",
    ),
    Entry(
        "-m seed=1,2 search.monitor=[val/accuracy,val/loss]",
        says="search.mode has 1 (min) for 2 in search.monitor (val/accuracy, val/loss); expected "
        "one for each",
    ),
    Entry(
        "-m seed=1,2 search.monitor=[val/accuracy,val/loss] search.mode=[max,min] "
        "search/pruner=median",
        says=(
            "search.monitor=val/accuracy, val/loss: a trial is given up by one metric; "
            "search.pruner=null gives up none"
        ),
    ),
    Entry(
        "-m seed=1,2 search.monitor=test/accuracy search.mode=max search/pruner=median",
        says=(
            "search.monitor=test/accuracy: a trial is given up by what validation measures, as "
            "val/loss; "
            "search.pruner=null gives up none"
        ),
    ),
    Entry(
        "-m seed=1,2 callbacks.checkpoint=null",
        says=(
            "search.monitor: taken from ${callbacks.checkpoint.monitor}, which is not there; give "
            "it, as "
            "search.monitor=val/loss\n"
            "search.mode: taken from ${callbacks.checkpoint.mode}, which is not there; give it, as "
            "search.mode=min"
        ),
    ),
    Entry(
        "-m +experiment=imdb,stsb",
        says=(
            "search.monitor=val/accuracy: not every trial reports it, since their objectives "
            "differ; all "
            "report val/loss"
        ),
    ),
    Entry(
        "-m +experiment=questions search=k_fold",
        says=(
            "data.split.fold=1/5: the source has a validation split of its own; "
            "data.split.fold=null fits"
        ),
    ),
    Entry(
        "-m +experiment=files data.source.path=HERE/absent.csv seed=1,2",
        says=(
            "data.source.path=HERE/absent.csv: there is no 'absent.csv' in HERE; did you mean "
            "'present.csv'?"
        ),
        files={"present.csv": "text,label\na,0\n"},
        name="a search over a file that is not there",
    ),
    Entry(
        "-m model=classification,regression",
        says=(
            "data.task=classification, but model.objective is for regression "
            "(src.model.objectives.regression.Regression); "
            "model=classification or data.task=regression fits"
        ),
    ),
    Entry(
        "-m model=classification,binary,ordinal model.objective.label_smoothing=0.1",
        says=(
            "model.objective.label_smoothing: there is no such key with model=binary; valid: "
            "focal_gamma, mixup, pos_weight, positive, r_drop\n"
            "model.objective.label_smoothing: there is no such key with model=ordinal; valid: "
            "label_names, mixup, r_drop"
        ),
    ),
    Entry(
        "-m model=binary,classification model.objective.class_weights=balanced model.typo=1",
        says=(
            "model.objective.class_weights: there is no such key with model=binary; did you mean "
            "'pos_weight'?\n"
            "model.typo: there is no such key; valid: adapter, encoder, freeze, fresh_embeddings, "
            "gradient_checkpointing, lean, objective, optim, regularization"
        ),
    ),
    Entry(
        "-m seed=1,2 search.max_trial=3",
        says="search.max_trial: there is no such key; did you mean 'max_trials'?",
    ),
    Entry(
        "-m seed=1,2 max_trials=3",
        says="max_trials: there is no such key; did you mean 'search.max_trials'?",
    ),
    Entry(
        "-m seed=1,2 search/pruner=median search.pruner.patience=0 search.pruner.warmup=2",
        says=(
            "search.pruner.warmup: there is no such key; did you mean 'warmup_share'?\n"
            "search.pruner.patience: expected a whole number at least 1 or null, found 0"
        ),
    ),
    Entry(
        "-m seed=1,2 search.jobs=0 search.launcher=slurm search.on_out_of_memory=half",
        says=(
            "search.on_out_of_memory: expected one of fail, halve, found 'half'; did you mean "
            "'halve'?\n"
            "search.launcher: expected one of local, ray, hydra or null, found 'slurm'\n"
            "search.jobs: expected a whole number at least 1 or null, found 0"
        ),
    ),
    Entry(
        "-m seed=1,2 search/pruner=null",
        says="search/pruner=null: there is no such choice; search.pruner=null leaves it out",
    ),
    Entry(
        "-m seed=1,2 search.pruner=median",
        says="search.pruner=median: a choice is written with slashes, as search/pruner=median",
    ),
    Entry(
        "-m seed=1,2 +search=learning_rate",
        says="+search=learning_rate: this group has a default that is replaced, as "
        "search=learning_rate",
    ),
    Entry(
        "-m tracking.offline=true,false search.jobs=1,2 hydra/launcher=basic,other",
        says=(
            "tracking.offline=true,false: tracking.offline is the same in all trials of a sweep, "
            "so it takes "
            "one value\n"
            "search.jobs=1,2: search.jobs is the same in all trials of a sweep, so it takes one "
            "value\n"
            "hydra/launcher=basic,other: hydra/launcher is the same in all trials of a sweep, so "
            "it takes one"
            " value"
        ),
    ),
    Entry(
        "-m seed=1,2 seed=3",
        says="seed is given twice: seed=1,2 and seed=3",
    ),
    Entry(
        "-m '~model=a,b'",
        says="~model=a,b: what is taken away has no values to choose from",
    ),
    Entry(
        "-m sweep=latest",
        says="sweep=latest: expected new, or the id of a sweep: the first 6 or more hexadecimal "
        "digits of it; the same command without sweep= goes on with its own sweep, and `python -m "
        "src.runs --kind search` lists all",
    ),
    Entry(
        "-m sweep=1a2b3c sweep=new seed=1,2",
        says="sweep= is given twice: 1a2b3c, new",
    ),
    Entry(
        "-m seed=range(1,100000000)",
        says=(
            "seed=range(1,100000000): expected at most 10000 values of one key; "
            "interval(START,STOP) lists none"
        ),
    ),
    Entry(
        "-m model.optim.lr=glob(x*)",
        says="model.optim.lr=glob(x*): no value lies in it, so that there would be no run",
    ),
    Entry(
        "search=learning_rate",
        says="search=learning_rate: a search makes several runs, which -m asks for (python -m "
        "src.run -m ...)",
    ),
    Entry(
        "search.max_trials=3 model.optim.lrr=1",
        says=(
            "search.max_trials=3: a search makes several runs, which -m asks for (python -m "
            "src.run -m ...)\n"
            "model.optim.lrr: there is no such key; did you mean 'lr'?"
        ),
    ),
    Entry(
        "sweep=1a2b3c",
        says="sweep=1a2b3c: a search makes several runs, which -m asks for (python -m src.run -m "
        "...)",
    ),
    Entry(
        "search/sampler=tpe --config-dir=conf",
        says="search/sampler=tpe: a search makes several runs, which -m asks for (python -m "
        "src.run -m ...)",
        files={"conf/model/mine.yaml": ""},
    ),
    Entry(
        "--sweep=1a2b3c",
        says="--sweep: there is no such flag; did you mean 'sweep=1a2b3c'?",
    ),
    Entry(
        "--search tpe",
        says="--search: there is no such flag; did you mean 'search=tpe'?",
    ),
    Entry(
        "-m search=mine",
        says="model.optim.lrr: there is no such key; did you mean 'lr'?",
        files={
            "conf/search/mine.yaml": (
                "defaults:\n  - grid\n  - _self_\nspace:\n  model.optim.lrr: 1e-5,2e-5\n"
            ),
        },
        name="a search with an unknown key in its space",
    ),
    Entry(
        "-m search=mine",
        says=(
            "search.space: seed: expected a text like those on the command line ('1,2,3', "
            "'interval(0,1)'), "
            "found [1, 2]\n"
            "search.space: trainer.max_epochs: expected a text like those on the command line "
            "('1,2,3', "
            "'interval(0,1)'), found 3"
        ),
        files={
            "conf/search/mine.yaml": (
                "defaults:\n  - grid\n  - _self_\nspace:\n  seed: [1, 2]\n  trainer.max_epochs: 3\n"
            ),
        },
        name="a search with a list in its space",
    ),
    Entry(
        "-m search=mine",
        says=(
            "model/encoder=tinyy: there is no such choice; did you mean 'tiny'?\n"
            "model.optim.lr: expected a number above 0 and at most 1, found 2.0"
        ),
        files={
            "conf/search/mine.yaml": (
                "defaults:\n"
                "  - grid\n"
                "  - override sampler: random\n"
                "  - _self_\n"
                "max_trials: 4\n"
                "space:\n"
                "  model:\n"
                "    optim:\n"
                "      lr: interval(1e-3, 2)\n"
                "  model/encoder: tiny,tinyy\n"
            ),
        },
        name="a search with a value that is refused",
    ),
    Entry(
        "-m search=mine",
        says=(
            "search.sampler is TPE, which has no end: expected search.max_trials=20, "
            "search.max_hours or "
            "search.max_tokens"
        ),
        files={
            "conf/search/mine.yaml": (
                "defaults:\n  - learning_rate\n  - _self_\nmax_trials: null\n"
            ),
        },
        name="a search without an end",
    ),
    Entry(
        "-m search=mine seed=1,2",
        says=(
            "search._target_: 'os.system' is not built: a config builds from src., lightning., "
            "torch., "
            "torchmetrics., transformers. alone"
        ),
        files={
            "conf/search/mine.yaml": ("_target_: os.system\nmonitor: val/loss\n"),
        },
        name="a search of a class of its own",
    ),
]
