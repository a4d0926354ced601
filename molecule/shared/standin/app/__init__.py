# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for UTMStack's backend: it writes every event into PostgreSQL, Elasticsearch and Redis, and says where to."""
