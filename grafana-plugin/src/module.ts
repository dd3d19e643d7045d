import { DataSourcePlugin } from '@grafana/data';

import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { DataSource } from './datasource';
import { MilestoneOptions, MilestoneQuery } from './types';

export const plugin = new DataSourcePlugin<DataSource, MilestoneQuery, MilestoneOptions>(DataSource)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
