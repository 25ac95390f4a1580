"""Commands for images: build, look into, compare, move them about; and for the store that has them."""

from __future__ import annotations

from argparse import SUPPRESS

from launcher.cli.arguments import CONFIG_DIR, EXPERIMENT, IMAGE, IMAGES, JSON, QUIET, SECRET, TIMINGS, Talk
from launcher.cli.command import Argument, Command, Options, switch
from launcher.cli.images.docker_options import DOCKER_OPTIONS, plain_switches
from launcher.errors import ConfigError

_HOST = Argument("host", nargs="?", metavar="HOST", help="the registry (default: Docker Hub)")


@Command(
    "build",
    "build the image only",
    "Build the image of an experiment, or that of a Dockerfile.",
    *EXPERIMENT,
    *DOCKER_OPTIONS,
    switch("--json", help="image_digest, layers, built, cached, seconds as JSON on stdout"),
    TIMINGS,
    QUIET,
    usage="experiment=NAME [KEY=VALUE ...] [--json] [--timings]\n       launch build [-f FILE] [-t NAME] [OPTIONS] CONTEXT",
    takes_command=True,
    rewrite=plain_switches,
)
def build(options: Options) -> int:
    from launcher.cli.images.build import build_image

    return build_image(options)


@Command(
    "push",
    "push an image to a registry; what it has already is not sent again",
    "Push an image to a registry: what the registry has already is not sent again.",
    Argument("words", nargs="+", metavar="IMAGE REF", help="the image, and where it goes", completed_by=["images"]),
    Argument(
        "--compression",
        choices=["gzip", "zstd", "none"],
        help="of every layer (default: as the registry has the layer, or else gzip)",
    ),
    CONFIG_DIR,
    switch("--json", help="reference, manifest digest, layers and bytes sent as JSON on stdout"),
    QUIET,
    usage="(IMAGE | experiment=NAME [KEY=VALUE ...]) REF [--compression gzip|zstd|none] [--json]",
    epilog="IMAGE is a name, a digest prefix or an experiment; `experiment=NAME` builds what is missing first.\n"
    "REF is [HOST[:PORT]/]NAME[:TAG]; the tag is `latest` when none is given.",
)
def push(options: Options) -> int:
    if len(options.words) < 2:
        raise push.wrong_usage("`launch push` needs an image and where it goes")
    from launcher.cli.images.push import push_image

    return push_image(options)


@Command(
    "pull",
    "fetch an image from its registry",
    "Fetch images from their registries into the store, and print `NAME@DIGEST` of each, as the registry has it.",
    Argument("images", nargs="+", metavar="IMAGE", help="`[HOST/]NAME[:TAG][@sha256:…]`, with Docker's meaning"),
    switch("--json", help="reference, manifest digest and image digest of each as JSON on stdout"),
    QUIET,
    usage="IMAGE ... [--json] [-q]",
    epilog="A launch asks a registry once what a tag means; pull asks again. Nothing that is here already is fetched.",
)
def pull(options: Options) -> int:
    from launcher.cli.images.pull import pull_images

    return pull_images(options.images, Talk.of(options, quiet=options.json), as_json=options.json)


@Command(
    "load",
    "take images out of a file or directory into the store",
    "Take the images in a file or directory into the store, and print their digests and names.",
    Argument("path", metavar="PATH", help="an archive or a directory; `-` reads an archive from stdin"),
    Argument("--name", metavar="NAME", help="call the image NAME, when there is only one"),
    switch("--json", help="image_digest, image_id and names of each as JSON on stdout"),
    QUIET,
    usage="PATH [--name NAME] [--json]",
    epilog="PATH is what `docker save`, `podman save`, skopeo, buildah and `launch save` write, compressed or not: an\n"
    "archive (`-`: from stdin), or the directory of an OCI image layout.",
)
def load(options: Options) -> int:
    from launcher.cli.images.load import load_from

    return load_from(options)


@Command(
    "save",
    "write an image to a file or directory that docker, podman and skopeo read",
    "Write an image of the store to a file or directory, and print its digest.",
    IMAGE,
    Argument("-o", "--output", metavar="PATH", help="where to; `-` is stdout"),
    Argument(
        "--format",
        choices=["docker-archive", "oci-archive", "oci"],
        help="default: oci for a directory or a PATH/, else docker-archive",
    ),
    QUIET,
    usage="IMAGE -o PATH [--format docker-archive|oci-archive|oci]",
    epilog="docker-archive   a tar archive for `docker load`, `podman load`, skopeo; an OCI image layout as well\n"
    "oci-archive      a tar archive with an OCI image layout alone\n"
    "oci              an OCI image layout in a directory; other images in it are kept",
)
def save(options: Options) -> int:
    if options.output is None:
        raise ConfigError("no file or directory to write to", hint=f"`launch save {options.image} -o FILE`, or `-o -` for stdout")
    from launcher.cli.images.save import save_image

    return save_image(options)


@Command(
    "login",
    "keep the credentials of a registry; `logout` forgets them",
    "Check credentials for a registry and keep them where docker and podman look.",
    _HOST,
    Argument("-u", "--username", metavar="USER", help="asked for when it is left out"),
    Argument("-p", "--password", metavar="PASSWORD", help=SUPPRESS),
    switch("--password-stdin", help="read the password, or an access token, from stdin"),
    usage="[HOST] [-u USER] [--password-stdin]",
    epilog="HOST[:PORT] as it stands in image names; without one it is Docker Hub.",
    needs_terminal=True,
)
def login(options: Options) -> int:
    from launcher.cli.images.login import log_in

    return log_in(options)


@Command("logout", "forget the credentials of a registry", "Forget the credentials of a registry.", _HOST, usage="[HOST]")
def logout(options: Options) -> int:
    from launcher.cli.images.login import log_out

    return log_out(options.host)


@Command(
    "images",
    "the images in the store: `show`, `history`, `sbom` and more",
    "List the images in the store, oldest first, or look into one.",
    JSON,
    usage="[ACTION IMAGE ...] [--json]",
)
def images(options: Options) -> int:
    from launcher.cli.images.list import list_images

    return list_images(as_json=options.json)


@images.action(
    "show",
    "what an image is, what it is made of and who has used it",
    "Show what an image is and what it is made of.",
    IMAGE,
    JSON,
    usage="IMAGE [--json]",
)
def images_show(options: Options) -> int:
    from launcher.cli.images.show import show_image

    return show_image(options.image, as_json=options.json)


@images.action(
    "history",
    "which step made each layer, and how big that is",
    "Show the steps of an image, newest first.",
    IMAGE,
    switch("--full", help="don't shorten long commands"),
    JSON,
    usage="IMAGE [--full] [--json]",
)
def images_history(options: Options) -> int:
    from launcher.cli.images.list import show_history

    return show_history(options.image, full=options.full, as_json=options.json)


@images.action(
    "sbom",
    "the software in an image, as CycloneDX JSON",
    "Print the software in an image as CycloneDX JSON.",
    IMAGE,
    switch("--json", help="the default: it is always JSON"),
    usage="IMAGE",
)
def images_sbom(options: Options) -> int:
    from launcher.cli.images.show import show_bill

    return show_bill(options.image)


@images.action(
    "rm",
    "remove images and their names; `launch gc` frees their layers",
    "Remove images and their names; `launch gc` frees their layers.",
    IMAGES,
    usage="IMAGE ...",
)
def images_rm(options: Options) -> int:
    from launcher.cli.images.removal import remove_images

    return remove_images(options.images)


@images.action(
    "pin",
    "let images stay, however old they get",
    "Let images stay, however old they get and however full the store is.",
    IMAGES,
    usage="IMAGE ...",
)
def images_pin(options: Options) -> int:
    from launcher.cli.images.removal import pin_images

    return pin_images(options.images)


@images.action(
    "unpin",
    "let them go as others do",
    "Take the pins of images away: `launch gc` treats them as any other.",
    IMAGES,
    usage="IMAGE ...",
)
def images_unpin(options: Options) -> int:
    from launcher.cli.images.removal import unpin_images

    return unpin_images(options.images)


@Command(
    "verify",
    "build an image again from its recipe and compare the two",
    "Build an image again from its recorded recipe, in an empty store with everything fetched anew, and compare digests.",
    IMAGE,
    Argument("overrides", nargs="*", metavar="KEY=VALUE", help="where to fetch from: `image.mirror=…`, `image.index.url=…`"),
    SECRET,
    switch("--keep", help="keep the rebuilt image; prints the LAUNCH_HOME that has it"),
    JSON,
    QUIET,
    usage="IMAGE [image.mirror=ADDRESS ...] [--keep] [--json]",
    epilog="exit status: 0 identical, 1 it differs. Overrides are for where things come from: image.mirror, image.index.*.",
)
def verify(options: Options) -> int:
    from launcher.cli.images.verify import verify_image

    return verify_image(options)


@Command(
    "gc",
    "free disk space: remove what nothing needs any more",
    "Free disk space: remove images that were not used for a while, and layers, packages and caches that nothing needs.",
    Argument("--keep-days", type=float, metavar="N", help="keep what was used within N days (default 30; with --max-size: none)"),
    Argument(
        "--max-size",
        metavar="SIZE",
        help="go on until no more than SIZE (`20GB`) is left; what was not used for longest goes first",
    ),
    switch("--all", "-a", help="a name keeps no image: the last of every old experiment may go too"),
    switch("--dry-run", "-n", help="only say what would go"),
    JSON,
    usage="[--keep-days N] [--max-size SIZE] [--all] [--dry-run] [--json]",
    epilog="""what stays whatever its age: images of runs that have not ended, pinned ones (`launch images pin`), what a build in
progress uses, and images with a name, unless --all says otherwise. Others wait for nothing: builds go on meanwhile.""",
)
def gc(options: Options) -> int:
    from launcher.cli.store.gc import collect_garbage

    return collect_garbage(options)


@Command(
    "store",
    "look after the store: is it whole (`check`), what can go (`gc`)",
    "Look after the store of layers and images.",
    usage="gc | check [OPTIONS]",
)
def store(options: Options) -> int:
    raise store.wrong_usage("say what to do with the store: `launch store check`, `launch store gc`")


store.add("gc", "remove what nothing needs (the same as `launch gc`)", gc)


@store.action(
    "check",
    "read everything and compare it with its digest; `--repair` makes what is damaged again",
    "Read all of the store and compare it with its digests.",
    switch("--repair", help="remove what is damaged and make it again from where it came from"),
    JSON,
    usage="[--repair] [--json]",
    epilog="exit status: 0 nothing is wrong (or no more, with --repair), 1 something is.",
)
def store_check(options: Options) -> int:
    from launcher.cli.store.check import check_store

    return check_store(repair=options.repair, as_json=options.json)
