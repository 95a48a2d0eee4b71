# redis-rb as its users have it: lists, streams, transactions, publish/subscribe, scans, passwords, a restart.
#
# ruby redis.rb PORT

require "redis"

PORT = Integer(ARGV[0])
Redis.exists_returns_integer = true

def connect(**options)
  Redis.new(port: PORT, timeout: 10, **options)
end

def same(expected, got)
  raise "expected #{expected.inspect}, got #{got.inspect}" unless expected == got
end

def refused(word)
  yield
rescue Redis::CommandError => error
  raise "#{error.message} does not begin with #{word}" unless error.message.start_with?(word)
else
  raise "#{word} was expected"
end

# Asks whoever runs this to kill the server and start it again.
def restart
  puts "RESTART"
  $stdout.flush
  $stdin.gets
end

# Does something soon, over a connection of its own.
def soon
  Thread.new do
    sleep 0.2
    yield connect
  end
end

def lists(redis)
  same 3, redis.rpush("list", %w[a b c])
  same %w[a b c], redis.lrange("list", 0, -1)
  same "b", redis.lindex("list", 1)
  same 4, redis.linsert("list", :before, "b", "x")
  same 1, redis.lrem("list", 0, "x")
  same "OK", redis.lset("list", 1, "B\0\r\n")
  same ["a", "B\0\r\n"], redis.lpop("list", 2)
  same "c", redis.lmove("list", "other", "LEFT", "RIGHT")
  same 0, redis.exists("list")
  same nil, redis.lpop("none")
  same ["other", ["c"]], redis.lmpop("none", "other", modifier: "LEFT", count: 5) if redis.respond_to?(:lmpop)
  producer = soon do |other|
    other.rpush("late", "message")
    other.lpush("source", "moved")
  end
  same %w[late message], redis.blpop("empty", "late", timeout: 5)
  same "moved", redis.blmove("source", "target", "LEFT", "RIGHT", timeout: 5)
  producer.join
  same nil, redis.brpop("empty", timeout: 0.1)
  redis.set("string", "v")
  refused("WRONGTYPE") { redis.lpush("string", "x") }
end

def streams(redis)
  first = redis.xadd("stream", { "job" => "one", "size" => "1" })
  second = redis.xadd("stream", { "job" => "two" }, maxlen: 100, approximate: true)
  same 2, redis.xlen("stream")
  same [[first, { "job" => "one", "size" => "1" }], [second, { "job" => "two" }]], redis.xrange("stream")
  same [[second, { "job" => "two" }]], redis.xrevrange("stream", count: 1)
  same({ "stream" => [[second, { "job" => "two" }]] }, redis.xread("stream", first))

  same "OK", redis.xgroup(:create, "stream", "workers", "0")
  refused("BUSYGROUP") { redis.xgroup(:create, "stream", "workers", "0") }
  read = redis.xreadgroup("workers", "ann", "stream", ">", count: 1)
  same({ "stream" => [[first, { "job" => "one", "size" => "1" }]] }, read)
  same 1, redis.xack("stream", "workers", first)
  redis.xreadgroup("workers", "bob", "stream", ">")
  summary = { "size" => 1, "min_entry_id" => second, "max_entry_id" => second, "consumers" => { "bob" => "1" } }
  same summary, redis.xpending("stream", "workers")
  detail, = redis.xpending("stream", "workers", "-", "+", 10)
  same [second, "bob", 1], detail.values_at("entry_id", "consumer", "count")
  same [[second, { "job" => "two" }]], redis.xclaim("stream", "workers", "ann", 0, second)
  same({ "next" => "0-0", "entries" => [[second, { "job" => "two" }]] },
       redis.xautoclaim("stream", "workers", "cid", 0, "0-0"))
  same 2, redis.xinfo(:stream, "stream")["length"]
  same "workers", redis.xinfo(:groups, "stream")[0]["name"]
  same %w[ann bob cid], redis.xinfo(:consumers, "stream", "workers").map { |consumer| consumer["name"] }
  same 1, redis.xdel("stream", first)
  producer = soon { |other| other.xadd("stream", { "job" => "three" }) }
  read = redis.xreadgroup("workers", "ann", "stream", ">", count: 1, block: 5000)
  same [{ "job" => "three" }], read["stream"].map(&:last)
  producer.join
  same({}, redis.xreadgroup("workers", "ann", "stream", ">", block: 100))
  same 1, redis.xtrim("stream", 1)
end

def transactions(redis)
  same [1, 2, %w[a b]], (redis.multi do |transaction|
    transaction.rpush("both", "a")
    transaction.rpush("both", "b")
    transaction.lrange("both", 0, -1)
  end)
  piped = redis.pipelined do |pipeline|
    pipeline.set("piped", "v")
    pipeline.get("piped")
  end
  same %w[OK v], piped
  change = lambda do |before|
    redis.watch("watched") do
      before.call
      redis.multi { |transaction| transaction.set("watched", "mine") }
    end
  end
  same nil, change.call(-> { connect.set("watched", "changed") })
  same "changed", redis.get("watched")
  same ["OK"], change.call(-> {})
  refused("WRONGTYPE") { redis.multi { |transaction| transaction.lpush("watched", "x") } }
end

def publish_subscribe(redis)
  heard = []
  connect.subscribe("news", "weather") do |on|
    on.subscribe { |_, count| soon { |other| other.publish("news", "hello"); other.publish("weather", "rain") } if count == 2 }
    on.message do |channel, text|
      heard << [channel, text]
      raise StopIteration if channel == "weather"
    end
  end
rescue StopIteration
  same [%w[news hello], %w[weather rain]], heard
  heard = []
  listener = connect
  listener.psubscribe("w*") do |on|
    on.psubscribe { soon { |other| other.publish("weather", "sun") } }
    on.pmessage do |pattern, channel, text|
      heard << [pattern, channel, text]
      listener.punsubscribe
    end
  end
  same [%w[w* weather sun]], heard
  same 1, redis.pubsub(:numsub, "none").length / 2
end

def scans(redis)
  redis.flushdb
  expected = (0...500).map { |number| "key:#{number}" }
  expected.each { |key| redis.rpush(key, "x") }
  redis.set("other", "x")
  same expected.sort, redis.scan_each(match: "key:*", count: 50).to_a.uniq.sort
  same ["other"], redis.scan_each(type: "string").to_a
  same 501, redis.dbsize
end

def passwords(redis)
  redis.config(:set, "requirepass", "secret")
  refused("NOAUTH") { connect.get("kept") }
  refused("WRONGPASS") { connect.auth("wrong") }
  member = connect(username: "default", password: "secret", db: 2)
  same "OK", member.set("x", "y")
  member.config(:set, "requirepass", "")
  same "OK", redis.call("ACL", "SETUSER", "worker", "on", ">job", "~jobs*", "+@list")
  worker = connect(username: "worker", password: "job")
  same 1, worker.rpush("jobs", "x")
  refused("NOPERM") { worker.rpush("others", "x") }
end

redis = connect
same "PONG", redis.ping
same "OK", redis.client(:setname, "ruby")
same "standalone", redis.info("server")["redis_mode"]
same({ "maxmemory" => "0" }, redis.config(:get, "maxmemory"))
lists(redis)
streams(redis)
transactions(redis)
publish_subscribe(redis)
scans(redis)
passwords(redis)
redis.set("kept", "for ever", ex: 1000)
restart
same "for ever", redis.get("kept")
raise "the time to live is lost" unless redis.ttl("kept").between?(900, 1000)
same ["x"], redis.lrange("key:7", 0, -1)
