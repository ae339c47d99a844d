"""The same files and stores in the object stores of Amazon, Google and Microsoft."""

import json

import numpy as np
import pytest
from azure_store import azure_store, azurite, make_container
from google_store import google_store
from object_proxy import Proxy
from object_server import Server, moto_server

from gssm_cube.storage import leases, locations, object_stores
from gssm_cube.storage.growth import consolidate
from gssm_cube.storage.locks import locked
from gssm_cube.storage.object_stores import StoreError
from gssm_cube.storage.shards import held, read_box
from gssm_cube.storage.stores import array_of, create_array, created_whole, open_group, write_region

AZURE = pytest.param(
    "az",
    marks=[
        pytest.mark.azure,
        pytest.mark.skipif(azurite() is None, reason="Azurite is not installed: npm install it"),
    ],
)
SHARD = (6, 768, 768)  # 7 MB of noise: more than clients send in one piece of their own accord


@pytest.fixture(scope="module")
def moto():
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def amazon(moto):
    """A proxy before S3; the environment names it."""
    with pytest.MonkeyPatch.context() as patch, Proxy(moto.endpoint) as proxy:
        for name, value in Server(proxy.url).environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="module", params=["s3", "gs", AZURE])
def cloud(request, moto, tmp_path_factory):
    """URL of an empty bucket; the environment has what its client needs."""
    folder = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch:

        def use(environment):
            for name, value in environment.items():
                patch.setenv(name, value)

        if request.param == "az":
            with azure_store(folder) as environment:
                use(environment)
                yield f"az://{make_container(environment)}"
        elif request.param == "gs":
            with google_store(moto, folder) as environment:
                use(environment)
                yield f"gs://{moto.make_bucket()}"
        else:
            use(moto.environment)
            yield f"s3://{moto.make_bucket()}"


def write_store(url, values):
    """A store of one array in a group, each half of its days a shard."""
    days = values.shape[0] // 2
    with created_whole(url) as root:
        group = root.create_group("daily")
        chunks, shards = (days, 48, 48), (days, *values.shape[1:])
        dims = ("time", "lat", "lon")
        create_array(group, "ssm", dims, values.shape, chunks, shards, "int16", -1, {})
    array, whole = array_of(open_group(url, "r+"), "daily/ssm"), [slice(0, n) for n in values.shape]
    for start in (0, days):
        write_region(array, (slice(start, start + days), *whole[1:]), values[start : start + days])


# ---- all clouds -------------------------------------------------------------------------------


def test_files_are_written_read_listed_and_deleted(cloud):
    folder = f"{cloud}/a b/year=2019"
    assert (locations.read(f"{folder}/x.json"), locations.size(f"{folder}/x.json")) == (None, None)
    for name in ("x.json", "y.txt", "deep/z.json"):
        locations.write(f"{folder}/{name}", name.encode())
    assert locations.read(f"{folder}/x.json") == b"x.json"
    assert {f.name: f.size for f in locations.files(folder)} == {
        "x.json": 6, "y.txt": 5, "deep/z.json": 11,
    }  # fmt: skip
    assert (locations.names(folder), locations.folders(folder)) == (["x"], ["deep"])
    assert locations.folders(f"{cloud}/nothing") == []
    for _ in range(2):
        locations.delete(f"{folder}/x.json")
        assert locations.read(f"{folder}/x.json") is None


def test_parts_of_a_file_come_from_its_end_and_from_within(cloud):
    url = f"{cloud}/ten"
    locations.write(url, b"0123456789")
    assert [bytes(object_stores.get_tail(url, n)) for n in (3, 99)] == [b"789", b"0123456789"]
    parts = object_stores.get_stretches(url, [(0, 2), (7, 3), (4, 1)])
    assert [bytes(part) for part in parts] == [b"01", b"789", b"4"]
    with pytest.raises(FileNotFoundError):
        object_stores.get_tail(f"{cloud}/nothing", 3)


def test_of_two_who_make_a_file_the_second_is_told(cloud, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    locations.check_writable(f"{cloud}/ssm.zarr")
    assert locations.create(f"{cloud}/new", b"1") is True
    assert locations.create(f"{cloud}/new", b"2") is False
    assert locations.read(f"{cloud}/new") == b"1"
    store = f"{cloud}/held.zarr"
    with locked(store), pytest.raises(RuntimeError, match="is being written by process"):
        with locked(store):
            pass
    assert [file.name for file in locations.files(f"{cloud}/ssm.zarr")] == []


def test_a_store_is_written_and_read_shard_by_shard(cloud):
    values = np.random.default_rng(1).integers(0, 999, (6, 96, 96)).astype("int16")
    url = f"{cloud}/a%20b/small.zarr"
    write_store(url, values)
    consolidate(url)
    array, box = array_of(open_group(url), "daily/ssm"), (slice(1, 5), slice(10, 60), slice(0, 96))
    assert np.array_equal(read_box(array, box), values[box])
    assert np.array_equal(read_box(held(array, box), box), values[box])
    assert np.array_equal(array[:], values)
    assert locations.folders(f"{url}/daily/ssm/c") == ["0", "1"]


def test_a_bucket_that_is_not_there_is_named(cloud):
    scheme = cloud.partition(":")[0]
    with pytest.raises(StoreError, match="://nobody-s/.*: there is no such bucket; make it, or"):
        locations.write(f"{scheme}://nobody-s/x", b"1")
    with pytest.raises(StoreError, match="://nobody-s/.*: there is no such bucket; make it, or"):
        list(locations.files(f"{scheme}://nobody-s/x"))


# ---- requests ---------------------------------------------------------------------------------


def test_large_objects_go_in_one_request_each(amazon):
    bucket = f"s3://{Server(amazon.url).make_bucket()}"
    values = np.random.default_rng(1).integers(0, 30_000, SHARD).astype("int16")
    amazon.forget()
    write_store(f"{bucket}/large.zarr", np.concatenate([values, values]))
    locations.write(f"{bucket}/large", values.tobytes())
    sent = [(method, path, size) for method, path, _, size in amazon.seen if size > 5 * 2**20]
    assert [(method, path.partition("/")[2].partition("/")[2]) for method, path, _ in sent] == [
        ("PUT", "large.zarr/daily/ssm/c/0/0/0"),
        ("PUT", "large.zarr/daily/ssm/c/1/0/0"),
        ("PUT", "large"),
    ]
    assert not [path for method, path, *_ in amazon.seen if method == "POST"]


def test_metadata_are_repeated_without_a_list_of_all_objects(amazon):
    url = f"s3://{Server(amazon.url).make_bucket()}/small.zarr"
    write_store(url, np.ones((2, 48, 48), dtype="int16"))
    amazon.forget()
    consolidate(url)
    lists = [path for _, path, *_ in amazon.seen if "list-type" in path]
    assert len(lists) == 2 and all("delimiter=" in path for path in lists)  # root and its group


def test_an_answer_that_breaks_off_is_never_taken_for_whole(amazon):
    url, content = f"s3://{Server(amazon.url).make_bucket()}/x", bytes(range(256)) * 4000
    locations.write(url, content)
    amazon.cut = 1
    assert locations.read(url) == content
    amazon.cut = 1
    assert bytes(object_stores.get_tail(url, 9999)) == content[-9999:]
    amazon.cut = 1
    assert bytes(object_stores.get_stretches(url, [(1000, 5000)])[0]) == content[1000:6000]
    assert amazon.cut == 0


def test_a_store_that_forgets_conditions_is_refused_before_the_work(amazon):
    bucket = f"s3://{Server(amazon.url).make_bucket()}"
    amazon.unconditional = True
    try:
        with pytest.raises(StoreError, match="ssm.zarr: this store writes over what was to be new"):
            locations.check_writable(f"{bucket}/ssm.zarr")
    finally:
        amazon.unconditional = False
    assert list(locations.files(f"{bucket}/ssm.zarr")) == []


# ---- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b", "a%20b", "a+b", "für", "year=2019", "~x*", "a&b:c"])
def test_a_name_means_the_same_object_to_all_who_ask(amazon, name):
    bucket = Server(amazon.url).make_bucket()
    url = f"s3://{bucket}/{name}/ssm.zarr"
    with created_whole(url) as root:
        root.attrs["title"] = name
    names = [file.name for file in locations.files(f"s3://{bucket}/{name}")]
    assert names == ["ssm.zarr/zarr.json"]
    assert open_group(url).attrs["title"] == name
    assert json.loads(locations.read(f"{url}/zarr.json"))["attributes"]["title"] == name


@pytest.mark.parametrize("quoted", ["a b", "a%20b"])
def test_a_web_address_may_be_quoted(amazon, quoted):
    server = Server(amazon.url)
    bucket = server.make_bucket()
    server.publish(bucket)
    with created_whole(f"s3://{bucket}/a b/ssm.zarr") as root:
        root.attrs["title"] = "there"
    url = f"{amazon.url}/{bucket}/{quoted}/ssm.zarr"
    assert open_group(url).attrs["title"] == "there"
    assert b"there" in locations.read(f"{url}/zarr.json")


@pytest.mark.parametrize(
    "url", ["https://bucket.s3.amazonaws.com/x", "https://account.blob.core.windows.net/x"]
)
def test_a_cloud_s_web_address_is_read_without_credentials(url):
    assert type(object_stores.opened(url)).__name__ == "HTTPStore"
