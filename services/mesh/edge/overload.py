"""Overload manager of the edge: its actions when memory or connections run out."""

from services.mesh.edge.filters import Json
from services.mesh.edge.options import EdgeOptions

TYPES = "type.googleapis.com/envoy."
PRESSURE = "pressure"  # where `EdgeOptions.watched` says so: the part of the connections that is taken
MONITORS = "envoy.resource_monitors."
HEAP, CONNECTIONS = MONITORS + "fixed_heap", MONITORS + "injected_resource"


def overload(options: EdgeOptions) -> Json:
    """Overload actions: wait less for who says nothing, end the calls that hold most, then refuse all new ones."""
    # Envoy keeps to this one, but acts on none of its other resources by it.
    most = monitor(
        MONITORS + "global_downstream_max_connections",
        "downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=options.connections,
    )
    monitors = [most, monitor(HEAP, "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=options.max_heap_bytes)]
    hurry = [trigger(HEAP, 0.7, 0.9)]
    if options.watched:
        config = "injected_resource.v3.InjectedResourceConfig"
        monitors.append(monitor(CONNECTIONS, config, filename=f"{options.watched}/{PRESSURE}"))
        hurry.append(trigger(CONNECTIONS, 0.5, 0.9))
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": monitors,
        "actions": [
            action("reduce_timeouts", *hurry) | {"typed_config": shorter(options)},
            action("reset_high_memory_stream", trigger(HEAP, 0.8, 0.95)),
            action("stop_accepting_requests", {"name": HEAP, "threshold": {"value": 0.95}}),
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
    }


def shorter(options: EdgeOptions) -> Json:
    """The timeouts that become shorter, down to these: of connections without a call, and of TLS handshakes."""
    shortest = {"HTTP_DOWNSTREAM_CONNECTION_IDLE": options.hurried_s, "TRANSPORT_SOCKET_CONNECT": 2}
    return {
        "@type": TYPES + "config.overload.v3.ScaleTimersOverloadActionConfig",
        "timer_scale_factors": [{"timer": name, "min_timeout": f"{s}s"} for name, s in shortest.items()],
    }


def monitor(name: str, config_type: str, **config: object) -> Json:
    """A resource whose use Envoy knows."""
    kind = TYPES + "extensions.resource_monitors." + config_type
    return {"name": name, "typed_config": {"@type": kind, **config}}


def trigger(resource: str, begins: float, full: float) -> Json:
    """Acts the more, the more of a resource is taken."""
    return {"name": resource, "scaled": {"scaling_threshold": begins, "saturation_threshold": full}}


def action(name: str, *triggers: Json) -> Json:
    """An overload action; the strongest trigger counts."""
    return {"name": "envoy.overload_actions." + name, "triggers": list(triggers)}
