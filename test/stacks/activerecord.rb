# apt install ruby-activerecord ruby-pg		(run by activerecord.py)

require 'active_record'
require 'json'
require 'logger'
require 'stringio'

KEYS = JSON.parse(ENV.fetch('KEYS'))

ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
  database: ENV['PGDATABASE'], username: ENV['PGUSER']
)
LOG = StringIO.new
ActiveRecord::Base.logger = Logger.new(LOG)

class Order < ActiveRecord::Base
  attr_accessor :seen

  after_commit { self.seen = Order.uncached { Order.count } }
end

# Work as the bearer of a key.  The log-in goes by no cache, no log and no exception of
# ActiveRecord, and no rows of one caller are kept for the next.
def with_key(key)
  ActiveRecord::Base.transaction do
    connection = ActiveRecord::Base.connection
    connection.raw_connection.exec_params('SELECT label FROM apikey_login($1)', [key])
    connection.clear_query_cache
    yield
  end
ensure
  ActiveRecord::Base.connection.clear_query_cache
end

$count = 0

def equal(got, wanted, what)
  puts "#{got == wanted ? 'ok' : 'not ok'} #{$count += 1} - #{what}"
  puts "#      got: #{got.inspect}\n# expected: #{wanted.inspect}" if got != wanted
end

def items
  Order.order(:id).pluck(:item)
end

def whoami
  Order.connection.uncached { Order.connection.select_value('SELECT label FROM apikey_whoami()') }
end

def bind(value)
  [ActiveRecord::Relation::QueryAttribute.new('key', value, ActiveRecord::Type::String.new)]
end

# What not to do: the log-in as a query of ActiveRecord
def log_in(key)
  Order.connection.select_value('SELECT label FROM apikey_login($1)', 'Login', bind(key))
end

def error
  yield
  nil
rescue ActiveRecord::StatementInvalid, PG::Error => e
  e
end

# The SQLSTATE, and the detail
def said(error)
  result = (error.is_a?(PG::Error) ? error : error.cause).result
  [result.error_field(PG::PG_DIAG_SQLSTATE), result.error_field(PG::PG_DIAG_MESSAGE_DETAIL)]
end

READER = ['banner', 'test banner'].freeze
GLOBEX = ['rocket'].freeze

# without a query cache
Order.transaction do
  log_in(KEYS['reader'])
  equal(items, READER, 'without a query cache a log-in as a query works')
end

# with one, as Rails has it in each request
Order.cache do
  Order.transaction do
    log_in(KEYS['reader'])
    equal(items, READER, 'the query cache: rows of the first key')
  end
  Order.transaction do
    log_in(KEYS['globex'])
    equal(whoami, 'globex', 'another key is logged in')
    equal(items, READER, 'and the cache has rows of the first for it')
  end
  equal(items, READER, 'and for nobody')
  Order.transaction do
    equal(log_in(KEYS['reader']), 'reader', 'the first key again: the log-in seems to work')
    equal(whoami, nil, 'but nobody is logged in: it was cached')
  end
end

# the same with with_key
Order.cache do
  2.times do
    with_key(KEYS['reader']) { equal(items, READER, 'with_key: rows of the first key') }
    equal(items, [], 'with_key: none for nobody')
    with_key(KEYS['globex']) do
      equal([whoami, items, items], ['globex', GLOBEX, GLOBEX], 'with_key: rows of the second')
    end
  end
end

# prepared statements are the same for all
statements = Order.connection.select_values(
  "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%\"orders\".\"project\"%'"
)
equal(statements, [], 'no prepared statements yet')
%w[reader globex].each do |name|
  with_key(KEYS[name]) do
    equal(Order.where(project: 'mars').pluck(:item), name == 'globex' ? GLOBEX : [],
          "a prepared statement: #{name}")
  end
end
equal(Order.connection.select_value(<<~SQL), 1, 'and it is one')
  SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%"orders"."project"%'
SQL

# queries that are made later
equal(with_key(KEYS['reader']) { Order.order(:id) }.map(&:item), [], 'a relation that is read later')
equal(with_key(KEYS['reader']) { Order.order(:id).load }.map(&:item), READER, 'a loaded one')
made = with_key(KEYS['writer']) do
  Order.create!(project: 'web', environment: 'production', item: 'poster')
end
equal(made.seen, 0, 'after_commit has no key')

# savepoints
with_key(KEYS['writer']) do
  %w[web mars].each do |project|
    Order.transaction(requires_new: true) do
      Order.create!(project: project, environment: 'production', item: "for #{project}")
    end
  rescue ActiveRecord::StatementInvalid => e
    equal(said(e).first, '42501', 'refused')
  end
  equal(Order.order(:id).last(2).map(&:item), ['poster', 'for web'], 'the rest is kept')
end

# errors
[nil, '', 'rubbish'].each do |key|
  equal(said(error { with_key(key) { raise } }), ['28000', nil], "a bad key: #{key.inspect}")
end
equal(items, [], 'nobody is logged in after that')
with_key(KEYS['limited']) { equal(items.first(2), READER, 'within the rate limit') }
equal(said(error { with_key(KEYS['limited']) { raise } }).to_s.sub(/=3\d+\.\d+/, '=N'),
      '["53400", "retry_after=N"]', 'over it, and how long to wait')

# who has seen the key
equal(LOG.string.include?(KEYS['globex']), true, 'a log-in as a query is logged, with the key')
LOG.truncate(0)
with_key(KEYS['globex']) { items }
equal([LOG.string.include?('"orders"'), KEYS.values.any? { |key| LOG.string.include?(key) }],
      [true, false], 'that of with_key is not')
bad = "#{KEYS['reader'][0..-2]}!"
failed = error { log_in(bad) }
equal([failed.message.include?(bad), failed.binds.map(&:value)], [false, [bad]],
      'an exception has it among its binds')
puts "1..#{$count}"
