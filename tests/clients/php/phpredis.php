<?php
// phpredis as its users have it: lists, streams, transactions, publish/subscribe, scans, passwords, a restart.
//
// php phpredis.php PORT
declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(function (int $kind, string $text, string $file, int $line): never {
    throw new ErrorException($text, 0, $kind, $file, $line);
});

$port = (int) $argv[1];

function connect(): Redis
{
    global $port;
    $redis = new Redis();
    $redis->connect('127.0.0.1', $port, 5);
    return $redis;
}

function same(mixed $expected, mixed $got): void
{
    if ($expected !== $got) {
        throw new Exception('expected ' . var_export($expected, true) . ', got ' . var_export($got, true));
    }
}

function refused(string $word, callable $act): void
{
    try {
        $act();
    } catch (RedisException $error) {
        same($word, strtok($error->getMessage(), ' '));
        return;
    }
    throw new Exception("$word was expected");
}

/** Asks whoever runs this to kill the server and start it again. */
function restart(): void
{
    echo "RESTART\n";
    flush();
    fgets(STDIN);
}

/** Runs a PHP program beside this one; what it prints is read from the result. */
function beside(string $program)
{
    global $port;
    $connect = "\$r = new Redis(); \$r->connect('127.0.0.1', $port);";
    return popen(escapeshellarg(PHP_BINARY) . ' -r ' . escapeshellarg("$connect $program"), 'r');
}

function lists(Redis $redis): void
{
    same(3, $redis->rPush('list', 'a', 'b', 'c'));
    same(['a', 'b', 'c'], $redis->lRange('list', 0, -1));
    same('b', $redis->lIndex('list', 1));
    same(4, $redis->lInsert('list', Redis::BEFORE, 'b', 'x'));
    same(1, $redis->lRem('list', 'x', 0));
    same(true, $redis->lSet('list', 1, "B\0\r\n"));
    same("B\0\r\n", $redis->lIndex('list', 1));
    same('a', $redis->lPop('list'));
    same('c', $redis->rPopLPush('list', 'other'));
    same(1, $redis->lLen('other'));
    same(Redis::REDIS_LIST, $redis->type('other'));
    same(false, $redis->lPop('none'));

    $producer = beside('usleep(200000); $r->rPush("late", "message"); $r->lPush("source", "moved");');
    same(['late', 'message'], $redis->blPop(['empty', 'late'], 5));
    same('moved', $redis->brpoplpush('source', 'target', 5));
    pclose($producer);
    same([], $redis->brPop('empty', 1));
    same(true, $redis->set('string', 'v'));
    same(false, $redis->lPush('string', 'x'));
    same(true, str_starts_with($redis->getLastError(), 'WRONGTYPE'));
    $redis->clearLastError();
}

function streams(Redis $redis): void
{
    $first = $redis->xAdd('stream', '*', ['job' => 'one', 'size' => '1']);
    $second = $redis->xAdd('stream', '*', ['job' => 'two']);
    same(2, $redis->xLen('stream'));
    same([$first => ['job' => 'one', 'size' => '1'], $second => ['job' => 'two']], $redis->xRange('stream', '-', '+'));
    same([$second => ['job' => 'two']], $redis->xRevRange('stream', '+', '-', 1));
    same(['stream' => [$second => ['job' => 'two']]], $redis->xRead(['stream' => $first]));

    same(true, $redis->xGroup('CREATE', 'stream', 'workers', '0'));
    same(['stream' => [$first => ['job' => 'one', 'size' => '1']]],
        $redis->xReadGroup('workers', 'ann', ['stream' => '>'], 1));
    same(1, $redis->xAck('stream', 'workers', [$first]));
    same(['stream' => [$second => ['job' => 'two']]], $redis->xReadGroup('workers', 'bob', ['stream' => '>']));
    same([1, $second, $second, [['bob', '1']]], $redis->xPending('stream', 'workers'));
    $detail = $redis->xPending('stream', 'workers', '-', '+', 10);
    same([$second, 'bob', 1], [$detail[0][0], $detail[0][1], $detail[0][3]]);
    same([$second => ['job' => 'two']], $redis->xClaim('stream', 'workers', 'ann', 0, [$second], ['RETRYCOUNT' => 5]));
    same(2, $redis->xInfo('STREAM', 'stream')['length']);
    same('workers', $redis->xInfo('GROUPS', 'stream')[0]['name']);
    same(['ann', 'bob'], array_column($redis->xInfo('CONSUMERS', 'stream', 'workers'), 'name'));
    same(1, $redis->xDel('stream', [$first]));

    $producer = beside('usleep(200000); $r->xAdd("stream", "*", ["job" => "three"]);');
    $read = $redis->xReadGroup('workers', 'ann', ['stream' => '>'], 1, 5000);
    pclose($producer);
    same([['job' => 'three']], array_values($read['stream']));
    same([], $redis->xReadGroup('workers', 'ann', ['stream' => '>'], 1, 100));
    same(1, $redis->xTrim('stream', 1));
    same(true, $redis->xGroup('DESTROY', 'stream', 'workers') > 0);
}

function transactions(Redis $redis): void
{
    same([1, 2, ['a', 'b']], $redis->multi()->rPush('both', 'a')->rPush('both', 'b')->lRange('both', 0, -1)->exec());
    same([true, 'v'], $redis->pipeline()->set('piped', 'v')->get('piped')->exec());
    $other = connect();
    $redis->watch('watched');
    $other->set('watched', 'changed');
    same(false, $redis->multi()->set('never', 'x')->exec());
    same(0, $redis->exists('never'));
    $redis->watch('watched');
    same([true], $redis->multi()->set('watched', 'mine')->exec());
    $redis->multi()->set('never', 'x');
    same(true, $redis->discard());
    same(0, $redis->exists('never'));
}

function publishSubscribe(Redis $redis): void
{
    $publisher = beside(
        '$left = 500; foreach (["news" => "hello", "weather" => "rain"] as $channel => $text) {' .
        ' while (!$r->publish($channel, $text) && $left-- > 0) { usleep(10000); } }'
    );
    // Its loops end only when nothing has come for a while.
    $heard = [];
    foreach (['subscribe' => 'news', 'psubscribe' => 'w*'] as $command => $name) {
        $listener = connect();
        $listener->setOption(Redis::OPT_READ_TIMEOUT, 1);
        try {
            $listener->$command([$name], function (Redis $listener, string ...$words) use (&$heard): void {
                $heard[] = $words;
            });
        } catch (RedisException $error) {
            same(true, str_starts_with($error->getMessage(), 'read error on connection'));
        }
        $listener->close();
    }
    same([['news', 'hello'], ['w*', 'weather', 'rain']], $heard);
    pclose($publisher);
    same(['news' => 0], $redis->pubsub('numsub', ['news']));
}

function scans(Redis $redis): void
{
    $redis->flushDB();
    $expected = [];
    for ($number = 0; $number < 500; $number++) {
        $redis->rPush("key:$number", 'x');
        $expected[] = "key:$number";
    }
    $redis->set('other', 'x');
    $redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    $found = [];
    $cursor = null;
    while ($keys = $redis->scan($cursor, 'key:*', 50)) {
        $found = array_merge($found, $keys);
    }
    sort($found);
    sort($expected);
    same($expected, array_values(array_unique($found)));
    same(501, $redis->dbSize());
    same(true, count($redis->keys('key:1*')) === 111);
}

function passwords(Redis $redis): void
{
    same(true, $redis->config('SET', 'requirepass', 'secret'));
    $stranger = connect();
    refused('NOAUTH', fn () => $stranger->get('kept'));
    refused('WRONGPASS', fn () => $stranger->auth('wrong'));
    same(true, $stranger->auth('secret'));
    same(true, $stranger->auth(['default', 'secret']));
    same('default', $stranger->rawCommand('ACL', 'WHOAMI'));
    same(true, $stranger->config('SET', 'requirepass', ''));
    same(true, $redis->acl('SETUSER', 'worker', 'on', '>job', '~jobs*', '+@list'));
    $worker = connect();
    same(true, $worker->auth(['worker', 'job']));
    same(1, $worker->rPush('jobs', 'x'));
    refused('NOPERM', fn () => $worker->rPush('others', 'x'));
    same(1, $redis->acl('DELUSER', 'worker'));
}

$redis = connect();
same(true, $redis->ping());
same('hello', $redis->ping('hello'));
same(true, $redis->client('setname', 'php'));
same('php', $redis->client('getname'));
same('standalone', $redis->info('server')['redis_mode']);
same(['maxmemory' => '0'], $redis->config('GET', 'maxmemory'));
lists($redis);
streams($redis);
transactions($redis);
publishSubscribe($redis);
scans($redis);
passwords($redis);
$redis->setEx('kept', 1000, 'for ever');
restart();
$redis = connect();
same('for ever', $redis->get('kept'));
same(true, $redis->ttl('kept') > 900);
same(['x'], $redis->lRange('key:7', 0, -1));
