"""`redfire health`: is the platform well?"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import click

from services.commands.data_folder import data_dir_option, read_addresses


@click.command()
@data_dir_option
@click.option("--url", help="The edge, for instance http://127.0.0.1:8080; by default the one of the data folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def health(data_dir: Path, url: str | None, as_json: bool) -> None:
    """Ask the edge how the services are. Exit code 0: all serve; 1: some do not, or nothing answers."""
    base = url or f"http://{read_addresses(data_dir)['edge']}"
    if not base.startswith(("http://", "https://")):
        raise click.BadParameter("it begins with http:// or https://", param_hint="--url")
    try:
        with urllib.request.urlopen(f"{base}/healthz", timeout=5) as answer:  # noqa: S310 the scheme is checked # nosec B310
            body = json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            body = json.load(error)
        except ValueError:
            body = {"status": f"HTTP {error.code}", "services": {}}
    except (OSError, ValueError) as error:
        click.echo(f"redfire: {base} does not answer: {getattr(error, 'reason', error)}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(body, indent=2))
    else:
        click.echo(f"{body['status']}  {base}  version {body.get('version', '?')}")
        for name, state in sorted(body.get("services", {}).items()):
            click.echo(f"  {name:12} {state}")
    sys.exit(0 if body["status"] == "SERVING" else 1)
