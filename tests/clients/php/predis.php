<?php
// Predis as its users have it: the client in plain PHP, its own transactions, loops and iterators.
//
// php predis.php PORT
declare(strict_types=1);

require 'Predis/Autoloader.php';
Predis\Autoloader::register();

$port = (int) $argv[1];

function connect(array $parameters = []): Predis\Client
{
    global $port;
    return new Predis\Client(['port' => $port, 'read_write_timeout' => 10] + $parameters);
}

function same(mixed $expected, mixed $got): void
{
    if ($expected !== $got) {
        throw new Exception('expected ' . var_export($expected, true) . ', got ' . var_export($got, true));
    }
}

$redis = connect();
same('PONG', (string) $redis->ping());
same(3, $redis->rpush('list', ['a', 'b', 'c']));
same(['a', 'b', 'c'], $redis->lrange('list', 0, -1));
same(['list', 'a'], $redis->blpop(['empty', 'list'], 1));
same(null, $redis->blpop(['empty'], 1));
same('c', $redis->rpoplpush('list', 'other'));
try {
    $redis->get('list');
    throw new LogicException('a string command on a list');
} catch (Predis\Response\ServerException $error) {
    same('WRONGTYPE', $error->getErrorType());
}

// Predis 1 knows no stream command: they are sent as they are written.
$id = $redis->executeRaw(['XADD', 'stream', '*', 'job', 'one']);
same('OK', $redis->executeRaw(['XGROUP', 'CREATE', 'stream', 'workers', '0']));
same([['stream', [[$id, ['job', 'one']]]]],
    $redis->executeRaw(['XREADGROUP', 'GROUP', 'workers', 'ann', 'STREAMS', 'stream', '>']));
same(1, $redis->executeRaw(['XACK', 'stream', 'workers', $id]));

same([1, 2], $redis->transaction(function ($transaction): void {
    $transaction->rpush('both', ['a']);
    $transaction->rpush('both', ['b']);
}));
same(2, count($redis->pipeline(function ($pipeline): void {
    $pipeline->llen('both');
    $pipeline->lrange('both', 0, -1);
})));
$tries = 0;
$replies = $redis->transaction(['watch' => 'balance', 'cas' => true, 'retry' => 3], function ($transaction) use (&$tries): void {
    $balance = (int) $transaction->get('balance');
    if ($tries++ === 0) {
        connect()->set('balance', '10');
    }
    $transaction->multi();
    $transaction->set('balance', (string) ($balance + 1));
});
same([2, '11'], [$tries, $redis->get('balance')]);

$loop = connect(['read_write_timeout' => 10])->pubSubLoop();
$loop->subscribe('news');
$loop->psubscribe('w*');
$heard = [];
foreach ($loop as $message) {
    if ($message->kind === 'psubscribe') {
        $redis->publish('news', 'hello');
        $redis->publish('weather', 'rain');
    } elseif (str_ends_with($message->kind, 'message')) {
        $heard[] = [$message->channel, $message->payload];
        if (count($heard) === 2) {
            $loop->unsubscribe();
            $loop->punsubscribe();
        }
    }
}
same([['news', 'hello'], ['weather', 'rain']], $heard);

$redis->flushdb();
for ($number = 0; $number < 300; $number++) {
    $redis->rpush("key:$number", ['x']);
}
$found = [];
foreach (new Predis\Collection\Iterator\Keyspace($redis, 'key:*', 40) as $key) {
    $found[$key] = true;
}
same(300, count($found));
$elements = iterator_to_array(new Predis\Collection\Iterator\ListKey($redis, 'key:1'));
same(['x'], $elements);

$redis->config('SET', 'requirepass', 'secret');
try {
    connect()->get('x');
    throw new LogicException('a stranger has read');
} catch (Predis\Response\ServerException $error) {
    same('NOAUTH', $error->getErrorType());
}
$member = connect(['password' => 'secret', 'database' => 3]);
same('OK', (string) $member->set('x', 'y'));
same('OK', (string) $member->config('SET', 'requirepass', ''));
