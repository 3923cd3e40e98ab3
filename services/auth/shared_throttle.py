"""The throttle of logins across replicas: each counts what it sees itself, and all count together in Redis.

An attempt waits as long as either says. Without Redis a replica's own counts go on, so that an attacker has as many
free failures as there are replicas instead of one; the same holds after Redis was emptied, until those of the replicas
are used up. Times are Redis's own: the clocks of replicas differ.
"""

from services.auth.settings import AuthSettings
from services.auth.throttle import KNOWN_FOR_S, LoginThrottle, TooManyLogins, name_of
from services.kernel.client_network import network_of
from services.kernel.redis.shared import Redis, RedisUnavailable, Script, key_part
from services.kernel.runtime.live_settings import LiveSettings

# KEYS: failures of the pair, the address and the name, or of a known device alone; then the pair's mark of an owner who
# logged in from there lately. ARGV: the step, the mark's life in ms; then of each: free failures, longest pause, time
# to forget (ms).
# A record is a hash: f failures, counted at c, no attempt before n. The rules are as in services/auth/throttle.py.
_SCRIPT = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local mark = KEYS[#KEYS]
local is_known = redis.call('EXISTS', mark) == 1
local records = {}
for i = 1, #KEYS - 1 do
  if i < 3 or not is_known then
    local rule = {key = KEYS[i], free = tonumber(ARGV[3 * i]), longest = tonumber(ARGV[3 * i + 1])}
    rule.forget = tonumber(ARGV[3 * i + 2])
    local kept = redis.call('HMGET', rule.key, 'f', 'c', 'n')
    rule.exists = kept[1] and kept[2] and kept[3]
    if rule.exists then
      rule.failures, rule.counted, rule.next = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
    else
      rule.failures, rule.counted, rule.next = 0, now, now
    end
    rule.level = math.max(0, rule.failures - math.floor(math.max(0, now - rule.counted) / rule.forget))
    records[#records + 1] = rule
  end
end
local function pause(rule, level)
  if level < rule.free then return 0 end
  return math.min(rule.longest, 1000 * 2 ^ math.min(level - rule.free, 40))
end
if ARGV[1] == 'admit' then
  local wait = 0
  for _, rule in ipairs(records) do
    wait = math.max(wait, math.min(rule.next - now, rule.longest))
  end
  if wait <= 0 then
    for _, rule in ipairs(records) do
      if rule.exists then
        redis.call('HSET', rule.key, 'n', string.format('%.0f', math.max(rule.next, now + pause(rule, rule.level))))
      end
    end
  end
  return string.format('%.0f', math.max(0, wait))
end
for i, rule in ipairs(records) do
  if ARGV[1] == 'failed' then
    local counted = now
    if rule.level > 0 then counted = rule.counted + (rule.failures - rule.level) * rule.forget end
    local level = rule.level + 1
    local fields = {'f', level, 'c', string.format('%.0f', counted)}
    redis.call('HSET', rule.key, 'n', string.format('%.0f', now + pause(rule, level)), unpack(fields))
    redis.call('PEXPIRE', rule.key, string.format('%.0f', math.min(level * rule.forget, ARGV[2]) + rule.longest))
  elseif rule.exists then
    redis.call('HSET', rule.key, 'n', string.format('%.0f', math.min(rule.next, now)))
  end
end
if ARGV[1] == 'succeeded' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', mark, '1', 'PX', ARGV[2])
end
return '0'
""")


class SharedThrottle:
    """Says whether a login may be tried now: `admit`, then `failed` or `succeeded`."""

    def __init__(self, own: LoginThrottle, redis: Redis, settings: LiveSettings[AuthSettings]) -> None:
        self._own = own
        self._redis = redis
        self._settings = settings

    async def admit(self, username: str, client_address: str, device: str = "") -> None:
        """Raises TooManyLogins, with the time to wait."""
        self._own.admit(username, client_address, device)
        wait_s = await self._count("admit", username, client_address, device)
        if wait_s > 0:
            self._own.withdraw(username, client_address, device)
            raise TooManyLogins(retry_after_s=wait_s)

    async def failed(self, username: str, client_address: str, device: str = "") -> None:
        """The password was wrong, or there is no such name: it counts alike."""
        self._own.failed(username, client_address, device)
        await self._count("failed", username, client_address, device)

    async def succeeded(self, username: str, client_address: str, device: str = "") -> None:
        """The password was right."""
        self._own.succeeded(username, client_address, device)
        await self._count("succeeded", username, client_address, device)

    async def _count(self, step: str, username: str, client_address: str, device: str) -> float:
        """Seconds to wait by what all replicas counted; 0 while Redis does not answer."""
        if not self._redis.available:
            return 0.0
        name, network = key_part(name_of(username)), key_part(network_of(client_address))
        # One slot of a cluster: a script is run by one server.
        prefix = f"{self._redis.prefix}{{login}}:"
        s = self._settings.value
        keys: tuple[str, ...] = (f"{prefix}pair:{name}:{network}", f"{prefix}address:{network}", f"{prefix}name:{name}")
        rules: tuple[tuple[int, float, float], ...] = (
            (s.login_free_failures, s.login_max_delay_s, s.login_forget_s),
            (s.login_address_free_failures, s.login_address_max_delay_s, s.login_forget_s / 10),
            (s.login_account_free_failures, s.login_account_max_delay_s, s.login_forget_s),
        )
        if device:
            keys, rules = (f"{prefix}device:{device}",), rules[:1]
        numbers = [
            n for free, longest_s, forget_s in rules for n in (free, int(longest_s * 1000), int(forget_s * 1000))
        ]
        arguments = (step, int(KNOWN_FOR_S * 1000), *numbers)
        try:
            answer = await self._redis.run_script(_SCRIPT, (*keys, f"{prefix}known:{name}:{network}"), arguments)
        except RedisUnavailable:
            return 0.0
        return int(answer) / 1000
