"""Names of public packages that so many use that others would like to be mistaken for them."""

from __future__ import annotations

from functools import cache

#: Normalised. One text, taken apart when it is wanted: most processes never do.
_NAMES = """
absl-py accelerate adal aenum aio-pika aioboto3 aiobotocore aiocontextvars aiodns aiofile aiofiles
aiohappyeyeballs aiohttp aioitertools aiomysql aioredis aiosignal aiosmtplib aiosqlite alabaster
albumentations alembic altair altgraph amqp aniso8601 annotated-doc annotated-types ansible ansible-core
ansible-lint anthropic antlr4-python3-runtime anyio anytree apache-airflow apache-beam apache-flink appdirs
appium-python-client appnope apscheduler apsw argcomplete argh argon2-cffi argon2-cffi-bindings argparse
arrow arviz ase asgiref asn1crypto ast-serialize astor astroid astropy astropy-iers-data asttokens
astunparse async-generator async-lru async-timeout asyncpg asyncssh atlassian-python-api atomicwrites attrs
audioread authlib autobahn autoflake autograd automat autopep8 av avro awkward aws-cdk-lib
aws-lambda-powertools aws-sam-translator aws-xray-sdk awscli awscrt azure-common azure-core azure-cosmos
azure-devops azure-functions azure-identity azure-keyvault-secrets azure-mgmt-compute azure-mgmt-core
azure-mgmt-network azure-mgmt-resource azure-mgmt-storage azure-servicebus azure-storage-blob
azure-storage-common babel backcall backoff backports-asyncio-runner backports-datetime-fromisoformat
backports-tarfile backports-zoneinfo bandit bcrypt beartype beautifulsoup4 behave billiard binaryornot
biopython bitarray bitsandbytes black blake3 bleach blessed blinker blis bokeh boltons boto boto3
boto3-stubs botocore botocore-stubs bottle bottleneck braintree brotli brotlicffi bs4 build bump2version
bumpversion cachecontrol cached-property cachelib cachetools caio cairocffi cairosvg calver cartopy casadi
catalogue catboost cattrs cbor2 celery cerberus certbot certifi cffi cfgv cfn-lint cftime chainer channels
chardet charset-normalizer cheroot cherrypy chromadb ciso8601 ckzg cleo click click-didyoumean click-plugins
click-repl clickhouse-connect clickhouse-driver cloudpathlib cloudpickle cloudscraper cmake cmd2 codecov
codespell cohere colorama colorcet colored coloredlogs colorlog comm conan confection configargparse
configobj configparser confluent-kafka connexion constantly construct contextlib2 contourpy convertdate
cookiecutter coverage coveralls crashtest crcmod croniter cryptography cssselect cssselect2 cssutils
ctranslate2 cuda-bindings cuda-pathfinder cuda-toolkit cupy curl-cffi cvxopt cvxpy cycler
cyclonedx-python-lib cyclopts cymem cython cytoolz dacite dagster dash dask databricks-cli
databricks-connect databricks-sdk databricks-sql-connector dataclasses dataclasses-json datadog dataproperty
datasets datashader dateparser db-dtypes dbt-core dbus-python ddt ddtrace deap debugpy decorator deepdiff
deepmerge deepspeed defusedxml delta-spark dependency-groups deprecated deprecation detect-secrets devpi
diagrams dictdiffer diffusers dill discord-py diskcache distlib distributed distro dj-database-url django
django-allauth django-cors-headers django-crispy-forms django-debug-toolbar django-environ django-extensions
django-filter django-redis django-storages djangorestframework djangorestframework-simplejwt dm-tree
dnspython docker docker-compose docker-pycreds dockerfile-parse docopt docstring-parser docutils
dohq-artifactory doit dpath drf-spectacular drf-yasg duckdb dulwich durationpy easydict easyocr ecdsa
editables einops elastic-apm elastic-transport elasticsearch elasticsearch-dsl elementpath email-validator
emoji entrypoints environs et-xmlfile eth-account eth-hash eth-typing eth-utils etils evaluate evdev
eventlet exceptiongroup execnet executing ezdxf fabric factory-boy faiss-cpu faiss-gpu faker falcon fastapi
fastapi-cli fastapi-users fastavro fasteners fastjsonschema fastmcp fastparquet fasttext feedparser
ffmpeg-python ffmpy filelock filetype fiona fire firebase-admin fixtures flake8 flake8-bugbear flaky flask
flask-admin flask-appbuilder flask-babel flask-bcrypt flask-caching flask-cors flask-jwt-extended
flask-limiter flask-login flask-migrate flask-restful flask-session flask-socketio flask-sqlalchemy
flask-wtf flatbuffers flax flit flit-core flower fonttools fpdf fpdf2 fqdn freetype-py freezegun frozendict
frozenlist fs fsspec ftfy furl fusepy future futures fuzzywuzzy gast gcsfs gdal gdown gensim geoalchemy2
geographiclib geoip2 geopandas geopy gevent gevent-websocket gguf ghp-import gitdb gitpython glom gluonts
gmpy2 google-ads google-ai-generativelanguage google-api-core google-api-python-client google-auth
google-auth-httplib2 google-auth-oauthlib google-cloud-aiplatform google-cloud-appengine-logging
google-cloud-bigquery google-cloud-bigquery-storage google-cloud-bigtable google-cloud-core
google-cloud-firestore google-cloud-kms google-cloud-logging google-cloud-monitoring google-cloud-pubsub
google-cloud-resource-manager google-cloud-secret-manager google-cloud-spanner google-cloud-speech
google-cloud-storage google-cloud-tasks google-cloud-translate google-cloud-vision google-crc32c
google-genai google-generativeai google-pasta google-resumable-media googleapis-common-protos googlemaps gql
gradio gradio-client graphene graphql-core graphviz great-expectations greenlet grequests griffe griffelib
groq grpc-google-iam-v1 grpcio grpcio-health-checking grpcio-reflection grpcio-status grpcio-tools gspread
gunicorn gym gymnasium h11 h2 h3 h5py hatch hatch-fancy-pypi-readme hatch-vcs hatchling haystack-ai hdfs
healpy heapdict hf-transfer hf-xet hiredis hishel holidays hpack hsluv html2text html5lib htmldate
httpagentparser httpcore httpcore2 httpie httplib2 httptools httpx httpx-sse httpx2 huggingface-hub
humanfriendly humanize hupper hvac hydra-core hypercorn hyperframe hyperlink hyperopt hypothesis
ibis-framework ibm-cloud-sdk-core icalendar identify idna igraph ijson imagehash imageio imageio-ffmpeg
imagesize imbalanced-learn immutabledict importlib-metadata importlib-resources impyla incremental inflect
inflection influxdb influxdb-client iniconfig injector inquirer instructor interface-meta intervaltree
invoke ipaddress ipdb ipykernel ipython ipython-genutils ipywidgets isodate isoduration isort itsdangerous
jaraco-classes jaraco-context jaraco-functools jaraco-text jax jax-cuda12-plugin jaxlib jaxtyping jdcal jedi
jeepney jellyfish jieba jinja2 jira jiter jmespath joblib joserfc json5 jsondiff jsonlines jsonpatch
jsonpath-ng jsonpickle jsonpointer jsonref jsonschema jsonschema-path jsonschema-specifications jupyter
jupyter-builder jupyter-client jupyter-console jupyter-core jupyter-events jupyter-lsp jupyter-server
jupyter-server-terminals jupyterhub jupyterlab jupyterlab-pygments jupyterlab-server jupyterlab-widgets
kafka-python kagglehub kagglesdk kaleido keras keras-preprocessing keyring keystoneauth1 kfp kiwisolver
kombu korean-lunar-calendar kubernetes kubernetes-asyncio labelbox lancedb langchain langchain-anthropic
langchain-aws langchain-classic langchain-community langchain-core langchain-google-genai
langchain-huggingface langchain-openai langchain-protocol langchain-text-splitters langcodes langdetect
langfuse langgraph langgraph-checkpoint langgraph-prebuilt langgraph-sdk langsmith lark lark-parser
launchdarkly-server-sdk lazy-loader lazy-object-proxy ldap3 levenshtein libclang libcst librosa librt
libsass lightgbm lightning lightning-utilities limits line-profiler linkify-it-py litellm llama-cpp-python
llama-index llama-index-core llvmlite locket locust logbook logfire loguru lxml lxml-html-clean lz4 macholib
mako mangum mariadb markdown markdown-it-py markdown2 markdownify marko markupsafe marshmallow
marshmallow-sqlalchemy matplotlib matplotlib-inline maturin maxminddb mccabe mcp mcp-types mdit-py-plugins
mdurl mecab-python3 memory-profiler memray mercurial mergedeep meson meson-python
microsoft-kiota-abstractions mimesis minio mistral-common mistralai mistune mkdocs mkdocs-material
mkdocstrings ml-collections ml-dtypes mlflow mlflow-skinny mlxtend mmh3 mock modin monotonic more-itertools
moto motor moviepy mpi4py mpmath mrjob msal msal-extensions msgpack msgpack-numpy msgspec msrest msrestazure
multidict multimethod multipledispatch multiprocess multitasking munch murmurhash mutagen mypy mypy-boto3-s3
mypy-extensions mysql-connector-python mysqlclient namex nanobind narwhals nats-py natsort nbclassic
nbclient nbconvert nbformat ndg-httpsclient ndjson neo4j neptune nest-asyncio nest-asyncio2 netaddr netcdf4
netifaces netmiko networkx neutron nh3 nibabel ninja nltk nodeenv nose nose2 notebook notebook-shim
notion-client nox numba numcodecs numexpr numpy numpydoc nvidia-cublas nvidia-cublas-cu12 nvidia-cuda-cupti
nvidia-cuda-cupti-cu12 nvidia-cuda-nvrtc nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime nvidia-cuda-runtime-cu12
nvidia-cudnn-cu12 nvidia-cudnn-cu13 nvidia-cufft nvidia-cufft-cu12 nvidia-cufile nvidia-cufile-cu12
nvidia-curand nvidia-curand-cu12 nvidia-cusolver nvidia-cusolver-cu12 nvidia-cusparse nvidia-cusparse-cu12
nvidia-cusparselt-cu12 nvidia-cusparselt-cu13 nvidia-ml-py nvidia-nccl-cu12 nvidia-nccl-cu13
nvidia-nvjitlink nvidia-nvjitlink-cu12 nvidia-nvshmem-cu13 nvidia-nvtx nvidia-nvtx-cu12 oauth2client
oauthlib odfpy okta olefile ollama omegaconf onnx onnx-ir onnxruntime onnxruntime-gpu onnxscript openai
openai-whisper openapi-pydantic openapi-spec-validator opencensus opencv-contrib-python opencv-python
opencv-python-headless openpyxl opensearch-py openstacksdk opentelemetry-api opentelemetry-distro
opentelemetry-exporter-http-transport opentelemetry-exporter-otlp opentelemetry-exporter-otlp-common
opentelemetry-exporter-otlp-proto-common opentelemetry-exporter-otlp-proto-grpc
opentelemetry-exporter-otlp-proto-http opentelemetry-instrumentation opentelemetry-instrumentation-asgi
opentelemetry-instrumentation-fastapi opentelemetry-instrumentation-flask
opentelemetry-instrumentation-requests opentelemetry-instrumentation-wsgi opentelemetry-proto
opentelemetry-sdk opentelemetry-semantic-conventions opentelemetry-util-http opt-einsum optax optree optuna
oracledb orbax-checkpoint ordered-set orderly-set orjson ormsgpack ortools oscrypto osmnx oss2 outcome
overrides packaging paddleocr paddlepaddle paho-mqtt pandas pandas-gbq pandas-stubs pandera pandocfilters
papermill parameterized paramiko parse parse-type parsedatetime parsel parsimonious parso partd passlib
paste pastel patch-ng path pathable pathlib2 pathos pathspec pathtools pathvalidate patsy pbkdf2 pbr
pdf2image pdfkit pdfminer pdfminer-six pdfplumber pdm pdm-backend peewee peft pendulum pep517 pep8
pep8-naming petl pexpect pg8000 pgvector phonenumbers pickleshare pika pikepdf pillow pillow-heif pinecone
pint pip pip-api pip-audit pip-tools pipdeptree pipenv pipreqs pipx pkginfo pkgutil-resolve-name
planetary-computer platformdirs playwright plotly plotnine pluggy plumbum ply pmdarima poetry poetry-core
poetry-plugin-export polars polars-runtime-32 polib pony pooch portalocker portend postgrest posthog pox
ppft pre-commit prefect preshed presto-python-client pretty-errors prettytable proglog progress progressbar
progressbar2 prometheus-client prometheus-flask-exporter prompt-toolkit propcache protego proto-plus
protobuf psutil psycopg psycopg-binary psycopg-pool psycopg2 psycopg2-binary psycopg2cffi ptpython
ptyprocess publicsuffix2 pudb pulp pulsar-client pulumi pure-eval puremagic py py-cpuinfo py-spy py4j pyaes
pyahocorasick pyaml pyarrow pyasn1 pyasn1-modules pyathena pyaudio pyautogui pybase64 pybind11 pycairo
pyclipper pycocotools pycodestyle pycountry pycparser pycrypto pycryptodome pycryptodomex pycups pycurl
pydantic pydantic-core pydantic-extra-types pydantic-settings pydata-google-auth pydeck pydicom pydispatcher
pydot pydub pyee pyelftools pyenchant pyerfa pyexcel pyfakefs pyfiglet pyflakes pygame pygame-ce pygit2
pygithub pyglet pygments pygobject pygraphviz pygsheets pyhamcrest pyhcl pyhive pyhumps pyiceberg pyicu
pyinotify pyinstaller pyinstaller-hooks-contrib pyjnius pyjwt pykerberos pykwalify pylint pylint-django
pymatgen pymdown-extensions pymeeus pymemcache pymilvus pymongo pymssql pymupdf pymysql pynacl pynamodb
pyngrok pynndescent pynput pyobjc pyobjc-core pyodbc pyogrio pyomo pyopengl pyopenssl pyotp pypandoc
pyparsing pypdf pypdf2 pypdfium2 pyperclip pyphen pypika pypng pyppeteer pyproj pyproject-api
pyproject-hooks pyproject-metadata pyqt5 pyqt5-qt5 pyqt5-sip pyqt6 pyqt6-qt6 pyqt6-sip pyquery pyramid
pyrate-limiter pyreadline pyreadline3 pyright pyroute2 pyrsistent pysam pyscreeze pyserial pysftp pyshp
pyside2 pyside6 pyside6-addons pyside6-essentials pysmb pysnmp pysocks pyspark pyspellchecker pyspnego
pystache pystemmer pytesseract pytest pytest-aiohttp pytest-asyncio pytest-bdd pytest-benchmark pytest-cov
pytest-django pytest-env pytest-forked pytest-html pytest-httpx pytest-instafail pytest-json-report
pytest-metadata pytest-mock pytest-order pytest-random-order pytest-randomly pytest-repeat
pytest-rerunfailures pytest-runner pytest-socket pytest-split pytest-sugar pytest-timeout pytest-xdist
python-bidi python-box python-can python-consul python-crontab python-daemon python-dateutil python-decouple
python-discovery python-docx python-dotenv python-editor python-engineio python-gitlab python-gnupg
python-http-client python-igraph python-jenkins python-jose python-json-logger python-keycloak python-ldap
python-levenshtein python-lsp-server python-magic python-memcached python-multipart python-pptx
python-slugify python-snappy python-socketio python-telegram-bot python-utils pythonnet pytimeparse pytokens
pytoolconfig pytorch-lightning pytube pytweening pytz pytz-deprecation-shim pyudev pyusb pyvirtualdisplay
pyvis pyvista pyvmomi pywavelets pywin32 pywin32-ctypes pywinpty pywinrm pyxlsb pyyaml pyyaml-env-tag pyzmq
qdrant-client qrcode qtawesome qtconsole qtpy quart querystring-parser questionary queuelib rank-bm25
rapidfuzz rarfile rasterio ratelimit raven ray rdflib readchar readme-renderer realtime recordlinkage redis
redshift-connector referencing regex reportlab requests requests-aws4auth requests-cache requests-file
requests-futures requests-html requests-kerberos requests-mock requests-ntlm requests-oauthlib
requests-toolbelt requirements-parser resolvelib responses respx restrictedpython retry retrying
rfc3339-validator rfc3986 rfc3986-validator rfc3987-syntax rich rich-argparse rich-toolkit robotframework
robotframework-seleniumlibrary roman-numerals rope rouge-score rpds-py rpy2 rq rsa rtree ruamel-yaml
ruamel-yaml-clib ruff runs rustworkx s3cmd s3fs s3transfer sacrebleu sacremoses safehttpx safetensors
sagemaker salesforce-bulk salt sanic sarif-om scandir scapy schedule schema scikit-build scikit-build-core
scikit-image scikit-learn scikit-optimize scipy scp scramp scrapy seaborn secretstorage segno selenium
selenium-wire semantic-kernel semantic-version semver send2trash sendgrid sentence-transformers
sentencepiece sentry-sdk serpent service-identity setproctitle setuptools setuptools-rust setuptools-scm
sgp4 shap shapely shellingham shiboken6 shortuuid shtab simpervisor simple-salesforce simpleeval simplejson
simpy singledispatch six skl2onnx slack-bolt slack-sdk slackclient slicer smart-open smartsheet-python-sdk
smdebug-rulesconfig smmap snakemake sniffio snowballstemmer snowflake-connector-python
snowflake-snowpark-python snowflake-sqlalchemy social-auth-core sortedcontainers sounddevice soundfile
soupsieve spacy spacy-legacy spacy-loggers spark-nlp sparkmeasure sparse speechrecognition sphinx
sphinx-autodoc-typehints sphinx-rtd-theme sphinxcontrib-applehelp sphinxcontrib-devhelp
sphinxcontrib-htmlhelp sphinxcontrib-jquery sphinxcontrib-jsmath sphinxcontrib-qthelp
sphinxcontrib-serializinghtml splunk-sdk sqlalchemy sqlalchemy-bigquery sqlalchemy-redshift sqlalchemy-utils
sqlglot sqlite-utils sqlmodel sqlparse srsly sse-starlette sseclient-py sshpubkeys sshtunnel stack-data
starlette statsd statsmodels stevedore stone storage3 strawberry-graphql streamlit strenum strictyaml
stringcase stripe structlog sty sudachipy supabase supabase-auth supabase-functions supervisor svgwrite
swagger-ui-bundle sympy synapseclient tableauserverclient tables tablib tabula-py tabulate tb-nightly tblib
telethon tenacity tensorboard tensorboard-data-server tensorboard-plugin-wit tensorboardx tensorflow
tensorflow-cpu tensorflow-datasets tensorflow-estimator tensorflow-gpu tensorflow-hub
tensorflow-io-gcs-filesystem tensorflow-metadata tensorflow-probability tensorflow-serving-api
tensorflow-text tensorstore termcolor terminado terminaltables testcontainers testfixtures testpath
testtools text-unidecode textblob textdistance texttable textual textwrap3 theano thefuzz thinc
threadpoolctl thrift thriftpy2 tifffile tiktoken time-machine timm tinycss2 tinydb tld tldextract tokenizers
toml tomli tomli-w tomlkit toolz toposort torch torchaudio torchmetrics torchtext torchvision tornado tox
tqdm trafilatura traitlets traittypes transaction transformers transitions treelib trimesh trino trio
trio-websocket triton trl trove-classifiers truststore tweepy twilio twine twisted txaio typed-ast typeguard
typepy typer typer-slim types-cachetools types-dateutil types-docutils types-mock types-protobuf
types-python-dateutil types-pytz types-pyyaml types-redis types-requests types-setuptools types-simplejson
types-six types-tabulate types-toml types-urllib3 typing typing-extensions typing-inspect typing-inspection
tzdata tzlocal ua-parser uamqp ujson ultralytics umap-learn uncertainties undetected-chromedriver unicodecsv
unicorn unidecode unidiff unittest2 universal-pathlib unstructured uri-template uritemplate uritools urllib3
urwid user-agents uuid-utils uv uvicorn uvloop uwsgi validators vcrpy versioneer vine virtualenv
virtualenv-clone virtualenvwrapper vllm voluptuous vtk vulture w3lib waitress wandb wasabi wasmtime watchdog
watchfiles watchtower wcwidth weasel weasyprint weaviate-client web3 webargs webcolors webdriver-manager
webencodings webob websocket-client websockets webtest werkzeug wheel whitenoise whoosh widgetsnbextension
wikipedia win32-setctime wmi wordcloud workalendar wrapt ws4py wsproto wtforms xarray xarray-einstats
xformers xgboost xhtml2pdf xlrd xlsxwriter xlwings xlwt xmlschema xmlsec xmltodict xxhash xyzservices yacs
yamale yamllint yapf yarl yaspin yfinance youtube-dl yt-dlp z3-solver zarr zeep zeroconf zict zipp
zope-event zope-interface zopfli zstandard zstd
"""


@cache
def widely_used() -> frozenset[str]:
    """The names, normalised."""
    return frozenset(_NAMES.split())
